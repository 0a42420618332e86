package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/smithy-go/logging"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"drover.dev/sandbox"
)

// naive is what a script does to save money, and what becomes of it.
func (d *stagingDemo) naive(ctx context.Context) error {
	d.act("What a script does: delete the deployments, lower the node group, stop the database")
	v := naiveVerdict{}
	var err error
	if v.nodes, err = d.nodesIn(ctx, sandbox.SharedPool); err != nil {
		return err
	}
	ours, err := d.w.NodesOf(ctx, sandbox.Staging)
	if err != nil {
		return err
	}
	if v.carried, err = d.carriers(ctx, sandbox.Production); err != nil {
		return err
	}
	if err := d.script(ctx, len(v.nodes)-len(ours)); err != nil {
		return err
	}
	if err := d.untilScaled(ctx, len(v.nodes)-len(ours)); err != nil {
		return err
	}
	if v.left, err = d.nodesIn(ctx, sandbox.SharedPool); err != nil {
		return err
	}
	v.ours = keysOf(ours)
	if v.deployments, err = d.deployments(ctx, sandbox.Staging); err != nil {
		return err
	}
	if err := letWork(ctx, naiveAfter); err != nil {
		return err
	}
	v.traffic, v.seen = d.load.Stop(), d.seen.Report()
	return v.print(d.a.out)
}

// naiveAfter is of work when AWS is done: damage shows late.
const naiveAfter = 5 * time.Second

// script is the one that people write, through the same APIs as kubectl and the aws command line.
func (d *stagingDemo) script(ctx context.Context, desired int) error {
	fmt.Fprintln(d.a.err, "$ kubectl -n staging delete deployment web api")
	for _, name := range []string{"web", "api"} {
		if err := d.w.Client().AppsV1().Deployments(sandbox.Staging).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			return fmt.Errorf("naive: %w", err)
		}
	}
	cfg, err := d.configAWS(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.a.err, "$ aws eks update-nodegroup-config --nodegroup-name %s --scaling-config minSize=0,maxSize=4,desiredSize=%d\n", sandbox.SharedPool, desired)
	if _, err := eks.NewFromConfig(cfg).UpdateNodegroupConfig(ctx, &eks.UpdateNodegroupConfigInput{
		ClusterName: aws.String(sandbox.EKSCluster), NodegroupName: aws.String(sandbox.SharedPool),
		ScalingConfig: &ekstypes.NodegroupScalingConfig{MinSize: aws.Int32(0), MaxSize: aws.Int32(4), DesiredSize: aws.Int32(int32(desired))},
	}); err != nil {
		return fmt.Errorf("naive: %w", err)
	}
	fmt.Fprintln(d.a.err, "$ aws rds stop-db-instance --db-instance-identifier staging")
	if _, err := rds.NewFromConfig(cfg).StopDBInstance(ctx, &rds.StopDBInstanceInput{DBInstanceIdentifier: aws.String(sandbox.Staging)}); err != nil {
		return fmt.Errorf("naive: %w", err)
	}
	return nil
}

// configAWS is that of any AWS client in this world.
func (d *stagingDemo) configAWS(ctx context.Context) (aws.Config, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithLogger(logging.Nop{}), config.WithRegion(d.w.Cloud.Region()), config.WithBaseEndpoint(d.w.Endpoint),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("sandbox", "sandbox", "")))
	if err != nil {
		return cfg, fmt.Errorf("AWS configuration: %w", err)
	}
	return cfg, nil
}

// untilScaled waits until AWS has ended what it chose, and production is whole again.
func (d *stagingDemo) untilScaled(ctx context.Context, want int) error {
	left := 0
	err := wait.PollUntilContextTimeout(ctx, time.Second/2, 3*time.Minute, true, func(ctx context.Context) (bool, error) {
		now, err := d.nodesIn(ctx, sandbox.SharedPool)
		if left = len(now); err != nil || left > want {
			return false, err
		}
		all, err := d.w.Client().AppsV1().Deployments(sandbox.Production).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		for _, dep := range all.Items {
			if dep.Status.ReadyReplicas < *dep.Spec.Replicas {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("naive: AWS has %d nodes, %d are wanted, or production is not ready again: %w", left, want, err)
	}
	return nil
}

func (d *stagingDemo) deployments(ctx context.Context, namespace string) ([]string, error) {
	list, err := d.w.Client().AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("deployments of %s: %w", namespace, err)
	}
	var out []string
	for _, dep := range list.Items {
		out = append(out, dep.Name)
	}
	return out, nil
}
