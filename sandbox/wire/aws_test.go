package wire

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// awsCLI runs the aws command line against the rig: an older client of the same APIs, made by others, that cannot share our
// mistakes.
func (r *rig) awsCLI(args ...string) (stdout, stderr string, err error) {
	r.t.Helper()
	path, err := exec.LookPath("aws")
	if err != nil {
		r.t.Fatal("install awscli: apt-get install awscli")
	}
	cmd := exec.Command(path, append([]string{"--endpoint-url", r.url, "--output", "json"}, args...)...)
	// Nothing of the developer's own AWS settings may leak in.
	own := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
	cmd.Env = append(own,
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
		"AWS_REGION="+r.cloud.Region(), "AWS_DEFAULT_REGION="+r.cloud.Region(), "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func (r *rig) awsJSON(into any, args ...string) {
	r.t.Helper()
	out, errs, err := r.awsCLI(args...)
	if err != nil {
		r.t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, errs)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		r.t.Fatalf("aws %s answered %q: %v", strings.Join(args, " "), out, err)
	}
}

func TestAWSCommandLine(t *testing.T) {
	r := newRig(t)
	tg := r.fleet()

	var groups struct {
		AutoScalingGroups []struct {
			AutoScalingGroupName string
			DesiredCapacity      int
			Instances            []struct {
				InstanceId, LifecycleState string
				LaunchTemplate             struct{ Version string }
			}
			Tags []struct{ Key, Value string }
		}
	}
	r.awsJSON(&groups, "autoscaling", "describe-auto-scaling-groups", "--filters", "Name=tag-key,Values=env")
	if len(groups.AutoScalingGroups) != 1 || groups.AutoScalingGroups[0].DesiredCapacity != 3 || len(groups.AutoScalingGroups[0].Instances) != 3 {
		t.Fatalf("groups: %+v", groups)
	}
	g := groups.AutoScalingGroups[0]
	if g.Instances[0].LifecycleState != "InService" || g.Instances[0].LaunchTemplate.Version != "2" || g.Tags[0].Value != "<staging> & \"more\"" {
		t.Fatalf("group: %+v", g)
	}

	var instances struct {
		Reservations []struct {
			Instances []struct {
				InstanceId, PrivateDnsName, StateTransitionReason string
				State                                             struct{ Name string }
				Placement                                         struct{ AvailabilityZone string }
				Tags                                              []struct{ Key, Value string }
			}
		}
	}
	r.awsJSON(&instances, "ec2", "describe-instances", "--filters", "Name=tag:aws:autoscaling:groupName,Values=g", "Name=instance-state-name,Values=running")
	if len(instances.Reservations) != 3 {
		t.Fatalf("instances: %+v", instances)
	}
	i := instances.Reservations[0].Instances[0]
	if i.State.Name != "running" || i.Placement.AvailabilityZone != "eu-west-1a" || i.PrivateDnsName == "" || len(i.Tags) != 5 {
		t.Fatalf("instance: %+v", i)
	}

	var ended struct {
		Activity struct{ Description, StatusCode, Cause string }
	}
	r.awsJSON(&ended, "autoscaling", "terminate-instance-in-auto-scaling-group", "--instance-id", i.InstanceId, "--should-decrement-desired-capacity")
	if ended.Activity.Description != "Terminating EC2 instance: "+i.InstanceId || ended.Activity.StatusCode != "WaitingForELBConnectionDraining" {
		t.Fatalf("activity: %+v", ended)
	}

	var health struct {
		TargetHealthDescriptions []struct {
			Target       struct{ Id string }
			TargetHealth struct{ State, Reason string }
		}
	}
	r.awsJSON(&health, "elbv2", "describe-target-health", "--target-group-arn", tg, "--targets", "Id="+i.InstanceId)
	if len(health.TargetHealthDescriptions) != 1 || health.TargetHealthDescriptions[0].TargetHealth.State != "draining" {
		t.Fatalf("target health: %+v", health)
	}
	r.settle()

	var activities struct {
		Activities []struct{ Description, StatusCode, EndTime string }
	}
	r.awsJSON(&activities, "autoscaling", "describe-scaling-activities", "--auto-scaling-group-name", "g")
	if len(activities.Activities) != 4 || activities.Activities[0].StatusCode != "Successful" || activities.Activities[0].EndTime == "" {
		t.Fatalf("activities: %+v", activities)
	}

	var who struct{ Account string }
	r.awsJSON(&who, "sts", "get-caller-identity")
	if who.Account != r.cloud.Account() {
		t.Fatalf("caller: %+v", who)
	}
}

func TestAWSCommandLineShowsRefusals(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"autoscaling", "describe-policies"}, "(NotSimulated) when calling the DescribePolicies operation: the drover sandbox does not simulate DescribePolicies of autoscaling"},
		{[]string{"ec2", "describe-volumes"}, "(NotSimulated) when calling the DescribeVolumes operation: the drover sandbox does not simulate DescribeVolumes of ec2"},
		{[]string{"dynamodb", "list-tables"}, "NotSimulated"},
		{[]string{"autoscaling", "set-desired-capacity", "--auto-scaling-group-name", "none", "--desired-capacity", "1"}, "(ValidationError)"},
	} {
		_, errs, err := r.awsCLI(c.args...)
		if err == nil || !strings.Contains(errs, c.want) {
			t.Errorf("aws %s: %v, %q; want %q", strings.Join(c.args, " "), err, errs, c.want)
		}
	}
}
