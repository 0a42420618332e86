package pipeline

import "encoding/json"

// Canary is a test event that drover check sends through a cluster's pipeline.
type Canary struct {
	ID      string `json:"id"`
	Cluster string `json:"cluster"`
}

// Detail is the canary as the detail of an event.
func (c Canary) Detail() string { return string(text(c)) }

// CanaryOf reads the canary from a message's body; zero when it is about something else.
func CanaryOf(body string) Canary {
	var event struct {
		Source string
		Type   string `json:"detail-type"`
		Detail json.RawMessage
	}
	var c Canary
	if json.Unmarshal([]byte(body), &event) != nil || event.Source != CanarySource || event.Type != CanaryType || json.Unmarshal(event.Detail, &c) != nil {
		return Canary{}
	}
	return c
}
