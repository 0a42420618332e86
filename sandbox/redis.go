package sandbox

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"drover.dev/sandbox/cloud"
)

// The stage of Redis: a master and a replica with three Sentinels, and a cluster of three masters with a replica each.
const (
	RedisGroup        = "redis" // six nodes in two zones
	RedisNamespace    = metav1.NamespaceDefault
	RedisMasterName   = "mymaster"       // what the Sentinels call it
	RedisMaster       = "redis-master"   // StatefulSet and service of the master,
	RedisReplica      = "redis-replica"  // of its replica,
	RedisSentinel     = "redis-sentinel" // and of the Sentinels
	RedisCluster      = "redis-cluster"  // service of the cluster; its StatefulSets are redis-cluster-a and redis-cluster-b
	RedisPort         = "6379"
	SentinelPort      = "26379"
	redisShards       = 3
	redisPerZone      = redisShards // nodes: no two pods of the cluster share one
	redisNodes        = 2 * redisPerZone
	redisVolumeDriver = "ebs.csi.aws.com"
)

var (
	//go:embed redis-sentinel.yaml
	redisSentinelYAML string
	//go:embed redis-cluster.yaml
	redisClusterYAML string
	//go:embed redis-cluster-zone.yaml
	redisZoneYAML string
)

// RedisPrograms says what the stage of Redis needs and this machine lacks.
func RedisPrograms() error {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return errors.New("redis-server: not on the PATH; install it, e.g. apt-get install redis-server")
	}
	return nil
}

// StageRedis fills an empty world with six nodes in two zones, a Redis that Sentinels watch, and a Redis Cluster. It returns when both serve, with
// the names by which clients find them.
func (w *World) StageRedis(ctx context.Context) (*Names, error) {
	fmt.Fprintf(w.Progress, "Launching %d nodes in two zones\n", redisNodes)
	if err := w.redisGroup(); err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	if err := w.nodesReady(ctx, redisNodes); err != nil {
		return nil, err
	}
	names, err := keepNames(ctx, w.client, RedisNamespace, filepath.Join(w.Dir, "names", RedisNamespace))
	if err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	fmt.Fprintf(w.Progress, "Starting Redis: a master and a replica with 3 Sentinels; a cluster of %d masters and %d replicas, a volume each\n", redisShards, redisShards)
	if err := w.stageRedis(ctx, names); err != nil {
		names.Close()
		return nil, err
	}
	return names, nil
}

func (w *World) redisGroup() error {
	template, err := w.Cloud.CreateLaunchTemplate(RedisGroup, "first", cloud.TemplateData{ImageID: "ami-0a000000000000001", InstanceType: "m5.large"}, nil)
	if err != nil {
		return err
	}
	return w.Cloud.CreateAutoScalingGroup(cloud.Group{
		Name: RedisGroup, Min: redisNodes, Max: 2 * redisNodes, Desired: redisNodes, Zones: w.Cloud.Zones()[:2],
		Source: cloud.Source{Template: cloud.TemplateSpec{ID: template.ID, Version: "$Latest"}},
		Tags: []cloud.GroupTag{
			{Group: RedisGroup, Key: LabelTag + "pool", Value: RedisGroup, Propagate: true},
			{Group: RedisGroup, Key: "kubernetes.io/cluster/" + EKSCluster, Value: "owned", Propagate: true},
			{Group: RedisGroup, Key: MachineTag, Value: string(Light), Propagate: true}, // every pod an address that clients here can reach
		},
	})
}

func (w *World) stageRedis(ctx context.Context, names *Names) error {
	zones := w.Cloud.Zones()
	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "names", Namespace: RedisNamespace}, Data: map[string]string{"HOSTS": names.file}}
	if _, err := w.client.CoreV1().ConfigMaps(RedisNamespace).Create(ctx, settings, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	if err := w.createAll(ctx, "redis-sentinel.yaml", redisSentinelYAML, "ZONE_A", zones[0], "ZONE_B", zones[1]); err != nil {
		return err
	}
	if err := w.createAll(ctx, "redis-cluster.yaml", redisClusterYAML); err != nil {
		return err
	}
	if err := w.volumeDriver(ctx); err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	for i, zone := range zones[:2] {
		if err := w.redisVolumes(ctx, clusterSet(i), zone); err != nil {
			return fmt.Errorf("stage: %w", err)
		}
		if err := w.createAll(ctx, "redis-cluster-zone.yaml", redisZoneYAML, "SET", clusterSet(i), "ZONE", zone); err != nil {
			return err
		}
	}
	if err := w.allReady(ctx); err != nil {
		return err
	}
	return formCluster(ctx, names, clusterPods(0), clusterPods(1))
}

// createAll creates the objects of a file, with words replaced.
func (w *World) createAll(ctx context.Context, file, yaml string, words ...string) error {
	for _, doc := range strings.Split(strings.NewReplacer(words...).Replace(yaml), "\n---\n") {
		if err := w.create(ctx, []byte(doc)); err != nil {
			return fmt.Errorf("stage: %s: %w", file, err)
		}
	}
	return nil
}

// clusterSet is the cluster's StatefulSet in the n-th zone.
func clusterSet(n int) string { return RedisCluster + "-" + string(rune('a'+n)) }

// clusterPods are the names, in DNS, of its pods in the n-th zone.
func clusterPods(n int) []string {
	var out []string
	for i := range redisShards {
		out = append(out, fmt.Sprintf("%s-%d.%s", clusterSet(n), i, RedisCluster))
	}
	return out
}

// volumeDriver tells Kubernetes not to wait for volumes to be attached: here each is a folder that every machine sees.
func (w *World) volumeDriver(ctx context.Context) error {
	attach := false
	driver := &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: redisVolumeDriver}, Spec: storagev1.CSIDriverSpec{AttachRequired: &attach}}
	if _, err := w.client.StorageV1().CSIDrivers().Create(ctx, driver, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("volume driver %s: %w", driver.Name, err)
	}
	return nil
}

// redisVolumes makes the volumes for a zone's StatefulSet, as if somebody had made them before: bound to their zone, each kept for one claim.
func (w *World) redisVolumes(ctx context.Context, set, zone string) error {
	for i := range redisShards {
		claim := fmt.Sprintf("data-%s-%d", set, i)
		volume := &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: "pv-" + claim},
			Spec: corev1.PersistentVolumeSpec{
				Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
				AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
				ClaimRef:                      &corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: RedisNamespace, Name: claim},
				PersistentVolumeSource:        corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: redisVolumeDriver, VolumeHandle: "vol-" + claim}},
				NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
					MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelTopologyZone, Operator: corev1.NodeSelectorOpIn, Values: []string{zone}}},
				}}}},
			},
		}
		if _, err := w.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("volume %s: %w", volume.Name, err)
		}
	}
	return nil
}
