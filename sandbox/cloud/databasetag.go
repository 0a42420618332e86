package cloud

import (
	"maps"
	"regexp"
	"strings"
)

// dbTags finds the tags of a DB instance, a cluster or a snapshot by its ARN; they are the thing's own, to be changed.
func (w *world) dbTags(arn string) (map[string]string, error) {
	for _, i := range w.dbs {
		if i.ARN == arn {
			return i.Tags, nil
		}
	}
	for _, k := range w.dbClusters {
		if k.ARN == arn {
			return k.Tags, nil
		}
	}
	for _, s := range w.snapshots {
		if s.ARN == arn {
			return s.Tags, nil
		}
	}
	parts := strings.SplitN(arn, ":", 7)
	if len(parts) < 7 || parts[2] != "rds" {
		return nil, badValue("Invalid resource name: %s", arn)
	}
	switch parts[5] {
	case "db":
		return nil, noDatabase("DBInstanceNotFound", "DBInstance %s not found.", parts[6])
	case "cluster":
		return nil, noDatabase("DBClusterNotFoundFault", "DBCluster %s not found.", parts[6])
	case "snapshot":
		return nil, noDatabase("DBSnapshotNotFound", "DBSnapshot %s not found.", parts[6])
	case "cluster-snapshot":
		return nil, noDatabase("DBClusterSnapshotNotFoundFault", "DBClusterSnapshot %s not found.", parts[6])
	}
	return nil, NotSimulated("tags of "+parts[5], "RDS")
}

// AddDBTags is RDS's AddTagsToResource, by ARN.
func (c *Cloud) AddDBTags(arn string, tags map[string]string) error {
	return c.write("rds:AddTagsToResource", func() error {
		own, err := c.w.dbTags(arn)
		if err != nil {
			return err
		}
		all := maps.Clone(own)
		maps.Copy(all, tags)
		if err := checkDBTags(all); err != nil {
			return err
		}
		maps.Copy(own, tags)
		return nil
	})
}

// RemoveDBTags is RDS's RemoveTagsFromResource. A tag that is not there is no error.
func (c *Cloud) RemoveDBTags(arn string, keys []string) error {
	return c.write("rds:RemoveTagsFromResource", func() error {
		own, err := c.w.dbTags(arn)
		if err != nil {
			return err
		}
		for _, k := range keys {
			delete(own, k)
		}
		return nil
	})
}

// ListDBTags is RDS's ListTagsForResource.
func (c *Cloud) ListDBTags(arn string) (map[string]string, error) {
	return read(c, "rds:ListTagsForResource", func(w *world) (map[string]string, error) {
		tags, err := w.dbTags(arn)
		return maps.Clone(tags), err
	})
}

// dbTagText is what RDS lets keys and values of tags have. Other services are not as strict.
var dbTagText = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

// maxDBTags is how many tags RDS lets one thing have.
const maxDBTags = 50

func checkDBTags(tags map[string]string) error {
	if len(tags) > maxDBTags {
		return badValue("The number of tags exceeds the limit of %d", maxDBTags)
	}
	for k, v := range tags {
		switch {
		case k == "" || len(k) > 128 || len(v) > 256:
			return badValue("The tag %s=%s is too long, or has no key", k, v)
		case !dbTagText.MatchString(k) || !dbTagText.MatchString(v):
			return badValue("The tag %s=%s has characters that are not allowed: letters, digits, spaces and _ . : / = + - @ are", k, v)
		case strings.HasPrefix(k, "aws:") || strings.HasPrefix(k, "rds:"):
			return badValue("Tag keys starting with 'aws:' and 'rds:' are reserved: %s", k)
		}
	}
	return nil
}
