package cloud

import (
	"encoding/json"
	"time"
)

// What AWS says of its own accord: the bodies here are those that its documentation shows.

func (c *Cloud) instanceARN(id string) string { return c.arn("ec2", "instance/"+id) }

// DirectNotification is the kind of a hook's own notification to its target, for LoseEvents.
const DirectNotification = "direct"

// LoseEvents loses the next n events of a kind: an event's detail-type, an RDS event's id, or DirectNotification. AWS delivers events on a best-effort basis.
func (c *Cloud) LoseEvents(kind string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.losing[kind] = n
}

func (c *Cloud) loses(kind string) bool {
	if c.losing[kind] == 0 {
		return false
	}
	c.losing[kind]--
	return true
}

// say publishes an event, unless it is to be lost.
func (c *Cloud) say(source, kind string, resources []string, detail map[string]any) {
	if !c.loses(kind) {
		c.publish(source, kind, resources, detail)
	}
}

// setState moves a machine to a state of EC2 and says so on the event bus.
func (c *Cloud) setState(i *Instance, s InstanceState) {
	i.State = s
	c.say("aws.ec2", "EC2 Instance State-change Notification", []string{c.instanceARN(i.ID)}, map[string]any{"instance-id": i.ID, "state": string(s)})
}

// spotARN names a spot instance as events about spot do: with a zone where others have region and account.
func spotARN(i *Instance) string { return "arn:aws:ec2:" + i.Zone + ":instance/" + i.ID }

// announce tells of a wait: the event bus always, the hook's own target if it has one.
func (c *Cloud) announce(g *Group, h Hook, w Wait) {
	detail := map[string]any{
		"LifecycleActionToken": w.Token, "AutoScalingGroupName": g.Name, "LifecycleHookName": h.Name, "EC2InstanceId": w.Instance,
		"LifecycleTransition": h.Transition, "Origin": w.Origin, "Destination": w.Destination,
	}
	if h.Metadata != "" {
		detail["NotificationMetadata"] = h.Metadata
	}
	kind := "EC2 Instance-launch Lifecycle Action"
	if h.Transition == HookTerminating {
		kind = "EC2 Instance-terminate Lifecycle Action"
	}
	c.say("aws.autoscaling", kind, []string{g.ARN}, detail)
	c.tellTarget(h, detail)
}

// announceTest is what a hook's target gets whenever the hook is put.
func (c *Cloud) announceTest(g *Group, h Hook) {
	c.tellTarget(h, map[string]any{"AutoScalingGroupARN": g.ARN, "AutoScalingGroupName": g.Name, "Event": "autoscaling:TEST_NOTIFICATION"})
}

// tellTarget sends Auto Scaling's own, flat notification.
func (c *Cloud) tellTarget(h Hook, body map[string]any) {
	if h.Target == "" || c.loses(DirectNotification) {
		return
	}
	body["AccountId"], body["RequestId"], body["Service"] = c.cfg.Account, c.uuid(), "AWS Auto Scaling"
	body["Time"] = c.now().Format("2006-01-02T15:04:05.000Z")
	c.tell(h.Target, asJSON(body))
}

// asJSON writes texts and what is made of them, which JSON can always say.
func asJSON(body any) string {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// moment is a time as EC2's events write it.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
