package cloud

import (
	"fmt"
	"time"
)

// Config says which AWS to simulate. The zero value, with a Clock, is a usable one.
type Config struct {
	Clock     Clock
	Timing    Timing
	Region    string   // default eu-west-1
	Account   string   // default 123456789012
	Zones     []string // default the region's a, b and c; each has one subnet
	Seed      int64    // decides ids and every choice AWS makes at random
	Addresses func(n int) string
	// Addresses gives the n-th instance (from 1) its private IP and must be a pure function: it is called under the cloud's lock.
	// The default, 127.20.n.1 and onwards, lets a local process listen on an instance's own address.
	Postgres string  // version of PostgreSQL that RDS and Aurora give those who ask for none; default 16.4
	Backing  Backing // keeps the data of databases, for which Clock has to show real time; nil: they have none
}

// Timing says how long AWS takes. Zero takes the default, a negative value means at once.
type Timing struct {
	ReactionTime        time.Duration // until a group acts on a change; default 5 s
	StartTime           time.Duration // EC2 pending to running; default 5 s
	BootTime            time.Duration // running to operating system ready; default 60 s
	BootJitter          time.Duration // added to BootTime, up to this much, by seed; default none
	ShutdownTime        time.Duration // shutting-down to terminated; default 30 s
	RetainTime          time.Duration // how long a terminated instance stays visible; default 1 h
	RegistrationDelay   time.Duration // target initial to healthy; default 10 s
	DeregistrationDelay time.Duration // attribute of a new target group, whole seconds; default 300 s as in AWS
	RetryTime           time.Duration // until a group tries again after a launch that went wrong; default 60 s
	EventDelay          time.Duration // from an event to the targets of the rules it matches; default 0.5 s
	ConsistencyLag      time.Duration // Describe calls show the world as it was so long ago; default none
	Databases           DatabaseTiming
}

// DatabaseTiming says how long RDS takes at least, for a DB instance or a cluster; what a Backing needs may come on top.
type DatabaseTiming struct {
	Create     time.Duration // default 5 min
	Backup     time.Duration // automated, in which a database is backing-up; default 2 min
	Snapshot   time.Duration // by a user; default 3 min
	Stop       time.Duration // twice as long in Multi-AZ; default 3 min
	Start      time.Duration // default 5 min
	Reboot     time.Duration // default 1 min
	Modify     time.Duration // default 4 min
	Delete     time.Duration // default 3 min
	Restore    time.Duration // default 10 min
	MaxStop    time.Duration // until RDS starts what is stopped; default 7 days
	RestartGap time.Duration // from the event that says so until the status is no longer stopped; default 5 min
	RestoreLag time.Duration // by which the latest restorable time is behind; default 5 min
}

func (c Config) withDefaults() Config {
	if c.Clock == nil {
		c.Clock = RealClock(1)
	}
	if c.Region == "" {
		c.Region = "eu-west-1"
	}
	if c.Account == "" {
		c.Account = "123456789012"
	}
	if len(c.Zones) == 0 {
		c.Zones = []string{c.Region + "a", c.Region + "b", c.Region + "c"}
	}
	if c.Addresses == nil {
		c.Addresses = func(n int) string { return fmt.Sprintf("127.%d.%d.1", 20+n/256, n%256) }
	}
	if c.Postgres == "" {
		c.Postgres = "16.4"
	}
	c.Timing = c.Timing.withDefaults()
	return c
}

func (t Timing) withDefaults() Timing {
	usually([]usual{
		{&t.ReactionTime, 5 * time.Second},
		{&t.StartTime, 5 * time.Second},
		{&t.BootTime, time.Minute},
		{&t.BootJitter, 0},
		{&t.ShutdownTime, 30 * time.Second},
		{&t.RetainTime, time.Hour},
		{&t.RegistrationDelay, 10 * time.Second},
		{&t.DeregistrationDelay, 300 * time.Second},
		{&t.RetryTime, time.Minute},
		{&t.EventDelay, 500 * time.Millisecond},
		{&t.ConsistencyLag, 0},
	})
	d := &t.Databases
	usually([]usual{
		{&d.Create, 5 * time.Minute},
		{&d.Backup, 2 * time.Minute},
		{&d.Snapshot, 3 * time.Minute},
		{&d.Stop, 3 * time.Minute},
		{&d.Start, 5 * time.Minute},
		{&d.Reboot, time.Minute},
		{&d.Modify, 4 * time.Minute},
		{&d.Delete, 3 * time.Minute},
		{&d.Restore, 10 * time.Minute},
		{&d.MaxStop, 7 * 24 * time.Hour},
		{&d.RestartGap, 5 * time.Minute},
		{&d.RestoreLag, 5 * time.Minute},
	})
	return t
}

// usual is a duration and what it is if nobody says.
type usual struct {
	value *time.Duration
	usual time.Duration
}

func usually(all []usual) {
	for _, f := range all {
		switch {
		case *f.value == 0:
			*f.value = f.usual
		case *f.value < 0:
			*f.value = 0
		}
	}
}
