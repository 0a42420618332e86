package cloud

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// bucket is a bucket of S3: objects without versions. It is no part of the world, since what is read of S3 never lags.
type bucket struct{ objects map[string]*Object }

// Object is one object of S3.
type Object struct {
	Key, ETag string // ETag without its quotes: the MD5 of the body
	Body      []byte
	Kind      string // Content-Type
	Meta      map[string]string
	Checksums map[string]string // by algorithm (CRC32, ...), in base64, as the client sent them
	Modified  time.Time
}

func (o *Object) clone() Object {
	n := *o
	n.Body, n.Meta, n.Checksums = bytes.Clone(o.Body), maps.Clone(o.Meta), maps.Clone(o.Checksums)
	return n
}

// Condition says when an object may be written; the zero value says always.
type Condition struct {
	Absent bool   // only if there is none (If-None-Match: *)
	ETag   string // only if there is one with this ETag (If-Match)
}

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// CreateBucket makes a bucket in a region, which can only be the cloud's own; no region is us-east-1.
func (c *Cloud) CreateBucket(name, region string) error {
	return c.write("s3:CreateBucket", func() error {
		if region == "" {
			region = "us-east-1"
		}
		switch {
		case !bucketName.MatchString(name):
			return refuse("InvalidBucketName", "The specified bucket is not valid: %s", name)
		case region != c.cfg.Region:
			return refuse("IllegalLocationConstraintException", "The %s location constraint is incompatible for the region specific endpoint this request was sent to.", region)
		case c.buckets[name] != nil:
			return &Error{"BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.", 409}
		}
		c.buckets[name] = &bucket{objects: map[string]*Object{}}
		return nil
	})
}

func (c *Cloud) bucket(name string) (*bucket, error) {
	if b, ok := c.buckets[name]; ok {
		return b, nil
	}
	return nil, &Error{"NoSuchBucket", "The specified bucket does not exist: " + name, 404}
}

func (b *bucket) object(key string) (*Object, error) {
	if o, ok := b.objects[key]; ok {
		return o, nil
	}
	return nil, &Error{"NoSuchKey", "The specified key does not exist: " + key, 404}
}

// PutObject writes an object whole, if the condition holds. Of o, ETag and Modified are S3's to say.
func (c *Cloud) PutObject(name string, o Object, when Condition) (out Object, err error) {
	err = c.write("s3:PutObject", func() error {
		b, err := c.bucket(name)
		if err != nil {
			return err
		}
		if o.Key == "" || len(o.Key) > 1024 {
			return refuse("KeyTooLongError", "Your key must have 1 to 1024 bytes, and has %d", len(o.Key))
		}
		if err := b.allows(o.Key, when); err != nil {
			return err
		}
		n := o.clone()
		sum := md5.Sum(n.Body)
		n.ETag, n.Modified = hex.EncodeToString(sum[:]), c.now().Truncate(time.Second)
		b.objects[n.Key] = &n
		out = n.clone()
		return nil
	})
	return out, err
}

func (b *bucket) allows(key string, when Condition) error {
	o, err := b.object(key)
	failed := &Error{"PreconditionFailed", "At least one of the pre-conditions you specified did not hold", 412}
	switch {
	case when.Absent && o != nil:
		return failed
	case when.ETag != "" && err != nil:
		return err
	case when.ETag != "" && when.ETag != o.ETag:
		return failed
	}
	return nil
}

// GetObject returns an object.
func (c *Cloud) GetObject(name, key string) (Object, error) {
	return c.getObject("s3:GetObject", name, key)
}

// HeadObject is GetObject for those who do not want the body, under a name of its own for faults.
func (c *Cloud) HeadObject(name, key string) (Object, error) {
	return c.getObject("s3:HeadObject", name, key)
}

func (c *Cloud) getObject(action, name, key string) (Object, error) {
	return read(c, action, func(*world) (Object, error) {
		b, err := c.bucket(name)
		if err != nil {
			return Object{}, err
		}
		o, err := b.object(key)
		if err != nil {
			return Object{}, err
		}
		return o.clone(), nil
	})
}

// ListObjects returns the objects whose keys begin with prefix, by key.
func (c *Cloud) ListObjects(name, prefix string) ([]Object, error) {
	return read(c, "s3:ListObjectsV2", func(*world) ([]Object, error) {
		b, err := c.bucket(name)
		if err != nil {
			return nil, err
		}
		var out []Object
		for _, key := range slices.Sorted(maps.Keys(b.objects)) {
			if strings.HasPrefix(key, prefix) {
				out = append(out, b.objects[key].clone())
			}
		}
		return out, nil
	})
}

// DeleteObject deletes an object. One that is not there is no error.
func (c *Cloud) DeleteObject(name, key string) error {
	return c.write("s3:DeleteObject", func() error {
		b, err := c.bucket(name)
		if err != nil {
			return err
		}
		delete(b.objects, key)
		return nil
	})
}
