package sandbox

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/database"
	"drover.dev/sandbox/machine"
)

// The pooler's stage: pgbouncer between a cluster and its database.
const (
	PoolerGroup     = "poolers"   // two nodes, at first in one zone
	PoolerService   = "pgbouncer" // its deployment and its service
	PoolerNamespace = metav1.NamespaceDefault
	poolerNodes     = 2
)

//go:embed pooler.yaml
var poolerYAML string

// PoolerPrograms says what the pooler's stage needs and this machine lacks.
func PoolerPrograms() error {
	_, err := database.Folder()
	if _, lacking := exec.LookPath("pgbouncer"); lacking != nil {
		if _, lacking := os.Stat("/usr/sbin/pgbouncer"); lacking != nil {
			err = errors.Join(err, errors.New("pgbouncer: not on the PATH nor in /usr/sbin; install it, e.g. apt-get install pgbouncer"))
		}
	}
	if _, lacking := exec.LookPath("setpriv"); lacking != nil {
		err = errors.Join(err, errors.New("setpriv: not on the PATH; install it, e.g. apt-get install util-linux"))
	}
	return err
}

// StagePooler fills an empty world with a database, and two nodes in one zone that run a pooler each. It returns when both are ready.
func (w *World) StagePooler(ctx context.Context) (*Database, error) {
	fmt.Fprintln(w.Progress, "Starting PostgreSQL, outside of the cluster")
	d, err := w.StartDatabase(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(w.Progress, "Launching %d nodes in one zone, with a pgbouncer on each\n", poolerNodes)
	if err := w.stagePooler(ctx, d); err != nil {
		d.Close()
		return nil, fmt.Errorf("stage: %w", err)
	}
	return d, nil
}

func (w *World) stagePooler(ctx context.Context, d *Database) error {
	template, err := w.Cloud.CreateLaunchTemplate(PoolerGroup, "first", cloud.TemplateData{ImageID: "ami-0a000000000000001", InstanceType: "m5.large"}, nil)
	if err != nil {
		return err
	}
	if err := w.Cloud.CreateAutoScalingGroup(cloud.Group{
		Name: PoolerGroup, Min: poolerNodes, Max: 2 * poolerNodes, Desired: poolerNodes, Zones: w.Cloud.Zones()[:1],
		Source: cloud.Source{Template: cloud.TemplateSpec{ID: template.ID, Version: "$Latest"}},
		Tags: []cloud.GroupTag{
			{Group: PoolerGroup, Key: LabelTag + "pool", Value: PoolerGroup, Propagate: true},
			{Group: PoolerGroup, Key: "kubernetes.io/cluster/" + EKSCluster, Value: "owned", Propagate: true},
			{Group: PoolerGroup, Key: MachineTag, Value: string(Light), Propagate: true}, // only these can die in silence
		},
	}); err != nil {
		return err
	}
	if err := w.nodesReady(ctx, poolerNodes); err != nil {
		return err
	}
	settings := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "database", Namespace: PoolerNamespace},
		Data:       map[string]string{"DATABASE_HOST": d.Host, "DATABASE_PORT": d.Port, "DATABASE_USER": d.User, "DATABASE_NAME": d.Name},
	}
	if _, err := w.client.CoreV1().ConfigMaps(PoolerNamespace).Create(ctx, settings, metav1.CreateOptions{}); err != nil {
		return err
	}
	for _, doc := range strings.Split(poolerYAML, "\n---\n") {
		if err := w.create(ctx, []byte(doc)); err != nil {
			return fmt.Errorf("pooler.yaml: %w", err)
		}
	}
	if err := w.allReady(ctx); err != nil {
		return err
	}
	return w.allServe(ctx)
}

// allServe waits until the service has every pooler: clients that come before would all be given to the first.
func (w *World) allServe(ctx context.Context) error {
	pooler := w.Pooler()
	err := wait.PollUntilContextTimeout(ctx, time.Second/10, time.Minute, true, func(context.Context) (bool, error) { return pooler.Ready() == poolerNodes, nil })
	if err != nil {
		return fmt.Errorf("stage: service %s has %d of %d endpoints: %w", PoolerService, pooler.Ready(), poolerNodes, err)
	}
	return nil
}

// Rebalance gives the poolers' group a second zone. One of the reasons for which AWS rebalances a group, by its own account, is that
// its zones were changed: it launches in the empty zone, and then ends an instance in the crowded one.
func (w *World) Rebalance() error {
	if err := w.Cloud.UpdateAutoScalingGroup(PoolerGroup, cloud.GroupUpdate{Zones: w.Cloud.Zones()[:2]}); err != nil {
		return fmt.Errorf("rebalance: %w", err)
	}
	return nil
}

// Pooler is the service through which clients reach the poolers.
func (w *World) Pooler() *machine.Service { return w.Nodes.Service(PoolerNamespace, PoolerService) }

// Farewell is what a pooler's process itself saw of its end, by its log.
type Farewell struct {
	PreStop, Term bool   // the hook ran; SIGTERM came
	Safe          bool   // pgbouncer began its safe shutdown
	Code          string // of its exit; empty if it did not live to tell
}

// Farewell reads the log of a pooler's pod, which stays when the pod is gone.
func (w *World) Farewell(pod string) (Farewell, error) {
	var f Farewell
	found, err := filepath.Glob(w.Nodes.LogFile(PoolerNamespace, pod, "*", PoolerService))
	if err != nil || len(found) != 1 {
		return f, fmt.Errorf("log of pod %s: %d files, want 1", pod, len(found))
	}
	log, err := os.Open(found[0])
	if err != nil {
		return f, fmt.Errorf("log of pod %s: %w", pod, err)
	}
	defer log.Close()
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		f.read(lines.Text())
	}
	return f, lines.Err()
}

// read takes in what the shell of pooler.yaml and pgbouncer write.
func (f *Farewell) read(line string) {
	f.PreStop = f.PreStop || strings.HasSuffix(line, " shell: preStop")
	f.Term = f.Term || strings.HasSuffix(line, " shell: SIGTERM")
	f.Safe = f.Safe || strings.Contains(line, "got SIGINT")
	if _, code, ok := strings.Cut(line, " shell: pgbouncer ended with "); ok {
		f.Code = code
	}
}
