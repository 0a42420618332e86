package cloud

import (
	"fmt"
	"strings"
	"time"
)

// When EC2 warns of the end of reserved capacity, and how long after that it ends instances.
const (
	BlockWarning  = 40 * time.Minute // before the end of a capacity block
	blockNotice   = 10 * time.Minute
	reserveNotice = 2 * time.Minute
)

// ExpireCapacityBlock says that a block of reserved capacity, which these instances run in, ends in forty minutes; EC2 ends them from ten minutes on.
// The event names the reservation and not the instances, as in AWS: DescribeInstances tells which run in it.
func (c *Cloud) ExpireCapacityBlock(ids ...string) (reservation string, err error) {
	err = c.happen(func() error {
		for _, id := range ids {
			if _, err := c.w.running(id); err != nil {
				return err
			}
		}
		reservation = c.hexID("cr")
		for _, id := range ids {
			c.w.instances[id].CapacityReservation = reservation
		}
		c.say("aws.ec2", "Capacity Block Expiration Warning", []string{c.arn("ec2", "capacity-reservation/"+reservation)}, map[string]any{
			"capacity-reservation-id": reservation, "end-date": moment(c.now().Add(BlockWarning)),
		})
		c.after(blockNotice, func() {
			for _, id := range ids {
				c.endReserved(id, reservation)
			}
		})
		return nil
	})
	return reservation, err
}

// InterruptCapacityReservation has the owner of reserved capacity that was lent take it back from an instance, which ends in two minutes.
func (c *Cloud) InterruptCapacityReservation(id string) error {
	return c.happen(func() error {
		i, err := c.w.running(id)
		if err != nil {
			return err
		}
		reservation := c.hexID("cr")
		i.CapacityReservation = reservation
		c.say("aws.ec2", "EC2 Capacity Reservation Instance Interruption Warning", []string{c.instanceARN(id)}, map[string]any{
			"instance-id": id, "instance-action": "terminate", "instance-termination-time": moment(c.now().Add(reserveNotice)), "azId": c.zoneID(i.Zone),
		})
		c.after(reserveNotice, func() { c.endReserved(id, reservation) })
		return nil
	})
}

func (c *Cloud) endReserved(id, reservation string) {
	if i, ok := c.w.instances[id]; ok && i.CapacityReservation == reservation {
		c.end(i, byAWS("Server.CapacityReservationTermination", "The capacity reservation ended"))
	}
}

// zoneID is the id that a zone has in every account: euw1-az2 for eu-west-1b.
func (c *Cloud) zoneID(zone string) string {
	parts := strings.Split(c.cfg.Region, "-")
	short := parts[0]
	for _, p := range parts[1:] {
		short += p[:1]
	}
	letter := strings.TrimPrefix(zone, c.cfg.Region)
	if letter == "" {
		return short + "-az1"
	}
	return fmt.Sprintf("%s-az%d", short, letter[0]-'a'+1)
}
