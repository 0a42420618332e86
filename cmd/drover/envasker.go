package main

import (
	"context"

	"drover.dev/fleet"
	"drover.dev/postgres"
)

// asker asks databases, and tells their clients by the addresses that the cluster knows.
type asker struct {
	*postgres.Hand
	known func(address string) string
}

func (s *site) asker() asker { return asker{&postgres.Hand{Secrets: s.login}, s.returned} }

// Ask asks one database.
func (a asker) Ask(ctx context.Context, db fleet.Database, spec fleet.DatabaseSpec) fleet.Answer {
	out := a.Hand.Ask(ctx, db, spec)
	for i := range out.Sessions {
		out.Sessions[i].From = a.known(out.Sessions[i].From)
	}
	return out
}
