package cloud

import (
	"cmp"
	"time"
)

// HealthEvent is what AWS Health has to say. What is left empty gets the values of a change that EC2 schedules for this account.
type HealthEvent struct {
	ARN, Service, TypeCode string
	Category               string // scheduledChange, issue, accountNotification or investigation
	Scope                  string // ACCOUNT_SPECIFIC or PUBLIC
	Status                 string // open, upcoming or closed
	Words                  string
	Start, End             time.Time
	Entities               []HealthEntity
}

// HealthEntity is one thing that an event is about, as an instance by its id.
type HealthEntity struct{ ID, Status string }

// entitiesAs returns the entities in another status. The list is a new one.
func (e HealthEvent) entitiesAs(status string) []HealthEntity {
	var out []HealthEntity
	for _, entity := range e.Entities {
		out = append(out, HealthEntity{entity.ID, status})
	}
	return out
}

// PublishHealth has AWS Health say something. Said again with the same ARN it is an update.
func (c *Cloud) PublishHealth(e HealthEvent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.publishHealth(e)
	c.commit()
}

// healthTime is how AWS Health writes times inside of its events.
const healthTime = "Mon, 2 Jan 2006 15:04:05 GMT"

func (c *Cloud) publishHealth(e HealthEvent) {
	resources, affected := []string{}, []any{}
	for _, entity := range e.Entities {
		resources = append(resources, entity.ID)
		tags := map[string]string{}
		if i, ok := c.w.instances[entity.ID]; ok {
			tags = i.clone().Tags
		}
		affected = append(affected, map[string]any{"entityValue": entity.ID, "status": entity.Status, "lastUpdatedTime": c.now().Format(healthTime), "tags": tags})
	}
	c.say("aws.health", "AWS Health Event", resources, map[string]any{
		"eventArn": e.ARN, "service": cmp.Or(e.Service, "EC2"), "eventTypeCode": e.TypeCode, "eventTypeCategory": cmp.Or(e.Category, "scheduledChange"),
		"eventScopeCode": cmp.Or(e.Scope, "ACCOUNT_SPECIFIC"), "communicationId": c.uuid() + "-1", "startTime": e.Start.UTC().Format(healthTime),
		"endTime": e.End.UTC().Format(healthTime), "lastUpdatedTime": c.now().Format(healthTime), "statusCode": cmp.Or(e.Status, "upcoming"),
		"eventRegion": c.cfg.Region, "eventDescription": []any{map[string]any{"language": "en_US", "latestDescription": e.Words}},
		"affectedEntities": affected, "affectedAccount": c.cfg.Account, "page": "1", "totalPages": "1",
	})
}
