package sandbox

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"text/template"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/scheme"

	"drover.dev/sandbox/cloud"
	"drover.dev/sandbox/database"
	"drover.dev/sandbox/machine"
)

// The stage of environments: production and staging in one cluster, on one node group, each with a database of its own.
const (
	Production = "production" // a namespace, and the name of its database
	Staging    = "staging"
	SharedPool = "workers" // the node group

	productionNodes = 2
	sharedNodes     = 3
	webPort         = 30080 // node ports of production; those of staging are further on
	apiPort         = 30081
)

//go:embed staging.yaml
var stagingYAML string

var stagingManifest = template.Must(template.New("staging.yaml").Parse(stagingYAML))

// tenant is one environment of the stage.
type tenant struct {
	Name             string
	Replicas         int
	WebPort, APIPort int
	Budgets          []string // workloads with a PodDisruptionBudget
}

var tenants = map[string]tenant{
	Production: {Name: Production, Replicas: 2, WebPort: webPort, APIPort: apiPort, Budgets: []string{"api", "web"}},
	Staging:    {Name: Staging, Replicas: 1, WebPort: webPort + 10, APIPort: apiPort + 10},
}

// StagingPrograms says what the stage of environments needs and this machine lacks.
func StagingPrograms() error {
	_, err := database.Folder()
	return err
}

// StageTenants fills an empty world: production comes first and gets two nodes in two zones, and a load balancer. Then staging comes, and the group is raised
// to three. It returns when both work, production on the two old nodes and staging on the new one.
func (w *World) StageTenants(ctx context.Context) error {
	fmt.Fprintln(w.Progress, "Creating two databases in RDS, each with a PostgreSQL server of its own, and a managed node group of two nodes in two zones")
	if err := w.createDatabases(); err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	if err := w.createSharedPool(); err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	if err := w.nodesReady(ctx, productionNodes); err != nil {
		return err
	}
	fmt.Fprintln(w.Progress, "Deploying production: web and api with two replicas each, under budgets, behind the load balancer")
	if err := w.settle(ctx, Production); err != nil {
		return fmt.Errorf("stage: %s: %w", Production, err)
	}
	fmt.Fprintln(w.Progress, "Deploying staging: the group gets a third node for it")
	desired := sharedNodes
	if err := w.poolActive(ctx); err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	if _, err := w.Cloud.UpdateNodegroupConfig(EKSCluster, SharedPool, cloud.NodegroupChange{Desired: &desired}); err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	if err := w.nodesReady(ctx, sharedNodes); err != nil {
		return err
	}
	if err := w.settle(ctx, Staging); err != nil {
		return fmt.Errorf("stage: %s: %w", Staging, err)
	}
	if err := w.poolActive(ctx); err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	return w.apart(ctx)
}

func (w *World) createDatabases() error {
	if w.databases.servers == nil {
		return errors.New("RDS can have no databases here")
	}
	for name := range tenants {
		// No automated backups: RDS refuses to stop a database while it makes one.
		_, err := w.Cloud.CreateDBInstance(cloud.DBInstance{
			Database: cloud.Database{ID: name, Engine: "postgres", Version: w.databases.servers.Version(), User: "app", Schema: "app"},
			Class:    "db.t3.micro", Storage: 20,
		}, databasePassword)
		if err != nil {
			return err
		}
	}
	return nil
}

// databasePassword is that of both databases' master user. It is no secret: the databases listen on this machine's own addresses only.
const databasePassword = "sandbox-only"

func (w *World) createSharedPool() error {
	tg, err := w.Cloud.CreateTargetGroup(cloud.TargetGroup{
		Name: Production, TargetType: "instance", Protocol: "HTTP", Port: webPort,
		HealthCheck: cloud.HealthCheck{Protocol: "HTTP", Port: "traffic-port", Path: "/healthz", Matcher: "200", Interval: 5 * time.Second, Timeout: 2 * time.Second, HealthyThreshold: 2, UnhealthyThreshold: 2},
	})
	if err != nil {
		return err
	}
	if _, err := w.Cloud.ModifyTargetGroupAttributes(tg.ARN, map[string]string{"deregistration_delay.timeout_seconds": "5"}); err != nil {
		return err
	}
	if err := w.Cloud.SetExternalHealth(tg.ARN, true); err != nil {
		return err
	}
	var subnets []string
	for _, n := range w.Cloud.Subnets()[:2] {
		subnets = append(subnets, n.ID)
	}
	n, err := w.Cloud.CreateNodegroup(cloud.Nodegroup{
		Cluster: EKSCluster, Name: SharedPool, InstanceTypes: []string{"t3.medium"}, Subnets: subnets, Role: "arn:aws:iam::123456789012:role/nodes",
		Min: 1, Max: 4, Desired: productionNodes,
	}, "")
	if err != nil {
		return err
	}
	return w.Cloud.AttachLoadBalancerTargetGroups(n.Scaling, []string{tg.ARN})
}

// poolActive waits until EKS takes changes of the group.
func (w *World) poolActive(ctx context.Context) error {
	status := ""
	err := wait.PollUntilContextTimeout(ctx, time.Second/5, time.Minute, true, func(context.Context) (bool, error) {
		n, err := w.Cloud.DescribeNodegroup(EKSCluster, SharedPool)
		status = n.Status
		return status == cloud.NodegroupActive, err
	})
	if err != nil {
		return fmt.Errorf("node group %s is %s: %w", SharedPool, status, err)
	}
	return nil
}

// settle deploys one environment, and waits until all of it is ready.
func (w *World) settle(ctx context.Context, name string) error {
	address, err := w.DatabaseURL(ctx, name)
	if err != nil {
		return err
	}
	meta := metav1.ObjectMeta{Name: "database", Namespace: name}
	if _, err := w.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	secret := &corev1.Secret{ObjectMeta: meta, StringData: map[string]string{"url": address, "username": "app", "password": databasePassword, "dbname": "app"}}
	if _, err := w.client.CoreV1().Secrets(name).Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		return err
	}
	var text strings.Builder
	if err := stagingManifest.Execute(&text, tenants[name]); err != nil {
		return err
	}
	for doc := range strings.SplitSeq(text.String(), "\n---\n") {
		if err := w.createWithJobs(ctx, []byte(doc)); err != nil {
			return fmt.Errorf("staging.yaml: %w", err)
		}
	}
	return w.allReady(ctx)
}

// createWithJobs is create, and knows CronJobs.
func (w *World) createWithJobs(ctx context.Context, doc []byte) error {
	object, _, err := scheme.Codecs.UniversalDeserializer().Decode(doc, nil, nil)
	if err != nil {
		return err
	}
	if job, ok := object.(*batchv1.CronJob); ok {
		_, err = w.client.BatchV1().CronJobs(job.Namespace).Create(ctx, job, metav1.CreateOptions{})
		return err
	}
	return w.create(ctx, doc)
}

// DatabaseURL is how a client on this machine reaches the database of an environment. It waits until there is one.
func (w *World) DatabaseURL(ctx context.Context, name string) (string, error) {
	status := ""
	var at cloud.Endpoint
	err := wait.PollUntilContextTimeout(ctx, time.Second/5, 2*time.Minute, true, func(context.Context) (bool, error) {
		found, err := w.Cloud.DescribeDBInstances(name, nil)
		if err != nil {
			return false, err
		}
		status, at = found[0].Status, found[0].Endpoint
		return at.Host != "", nil
	})
	if err != nil {
		return "", fmt.Errorf("database %s is %s: %w", name, status, err)
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword("app", databasePassword), Host: net.JoinHostPort(at.Host, strconv.Itoa(at.Port)), Path: "app", RawQuery: "sslmode=require"}
	return u.String(), nil
}

// Front is the service through which people reach an environment.
func (w *World) Front(name string) *machine.Service { return w.Nodes.Service(name, "web") }

// NodesOf are the nodes that carry pods of an environment, by name.
func (w *World) NodesOf(ctx context.Context, name string) (map[string]bool, error) {
	pods, err := w.client.CoreV1().Pods(name).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("pods of %s: %w", name, err)
	}
	out := map[string]bool{}
	for _, p := range pods.Items {
		if p.Spec.NodeName != "" {
			out[p.Spec.NodeName] = true
		}
	}
	return out, nil
}

// apart checks that the two environments are on nodes of their own, as the scheduler had every reason to place them.
func (w *World) apart(ctx context.Context) error {
	theirs, err := w.NodesOf(ctx, Production)
	if err != nil {
		return err
	}
	ours, err := w.NodesOf(ctx, Staging)
	if err != nil {
		return err
	}
	for node := range ours {
		if theirs[node] {
			return fmt.Errorf("stage: node %s carries pods of both environments", node)
		}
	}
	if len(theirs) != productionNodes || len(ours) != sharedNodes-productionNodes {
		return fmt.Errorf("stage: production is on %d nodes, staging on %d", len(theirs), len(ours))
	}
	return nil
}
