package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"drover.dev/fleet"
)

func (a *app) storesCommand() *cobra.Command {
	probe := false
	c := &cobra.Command{
		Use: "stores [NAME]", Short: "Show the stores whose pods drover moves in their own way: members, roles, Sentinels, moves in progress",
		Long: `Show what drover knows of the stores in the cluster (docs/stores.md): who said so, the members with what they say of themselves, the Sentinels and whom
they take for the master, the move in progress with its step, and what is not in order, with what to do. NAME is namespace/name, or a name that only one
namespace has.

--probe also asks pods of StatefulSets that are of no store and look like a Redis (port 6379 or 26379, or an image of redis, valkey or keydb) what they are,
without a password, and says which annotation would confirm it. It only reads: nothing is moved by what it finds.

Exit code 0 when all is well, 2 when a store that somebody has confirmed is in trouble, or half moved while nobody goes on.`,
		Example: "  drover stores\n  drover stores shop/orders -o json\n  drover stores --probe",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			return a.stores(c.Context(), name, probe)
		},
	}
	c.Flags().BoolVar(&probe, "probe", false, "also ask pods that look like a Redis and are of no store what they are")
	a.outputFlag(c)
	return c
}

// storesDocument is what stores prints.
type storesDocument struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Place      string          `json:"place"`
	Stores     []storeDocument `json:"stores"`
	Probed     []probed        `json:"probed,omitempty"`
	probe      bool
}

func (a *app) stores(ctx context.Context, name string, probe bool) error {
	s, err := a.conn.connectStores(ctx)
	if err != nil {
		return err
	}
	snapshot, err := s.observe(ctx, nil)
	if err != nil {
		return err
	}
	d, err := storesOf(&snapshot, name)
	if err != nil {
		return err
	}
	d.Place, d.probe = s.place, probe
	if probe {
		if d.Probed, err = s.probe(ctx, &snapshot); err != nil {
			return err
		}
	}
	if err := a.print(d, d.print); err != nil {
		return err
	}
	if d.troubled() {
		return &exit{code: exitChanges}
	}
	return nil
}

// troubled tells whether something is worth mending.
func (d *storesDocument) troubled() bool {
	return slices.ContainsFunc(d.Stores, func(s storeDocument) bool {
		return s.Confirmed && (len(s.Trouble) > 0 || s.Move != nil && s.Move.GoOn != "")
	})
}

// storesOf are the stores of that name, or all.
func storesOf(s *fleet.Snapshot, name string) (*storesDocument, error) {
	d := &storesDocument{APIVersion: "drover.dev/v1alpha1", Kind: "Stores", Stores: []storeDocument{}}
	if name != "" {
		st, err := storeNamed(s, name)
		if err == nil {
			d.Stores = append(d.Stores, storeOf(s, st))
		}
		return d, err
	}
	for i := range s.Stores {
		d.Stores = append(d.Stores, storeOf(s, &s.Stores[i]))
	}
	return d, nil
}

// storeNamed finds a store by namespace/name, or by a name that only one namespace has.
func storeNamed(s *fleet.Snapshot, name string) (*fleet.Store, error) {
	var found *fleet.Store
	var have, several []string
	for i := range s.Stores {
		st := &s.Stores[i]
		have = append(have, st.Name)
		if st.Name == name || lastPart(st.Name) == name {
			found, several = st, append(several, st.Name)
		}
	}
	switch len(several) {
	case 0:
		return nil, fmt.Errorf("store %s: nobody declares one of that name; there are: %s", name, orNone(have))
	case 1:
		return found, nil
	}
	return nil, usagef("store %s: there are several: %s", name, orNone(several))
}

func (d *storesDocument) print(w io.Writer) {
	fmt.Fprintln(w, d.Place)
	if len(d.Stores) == 0 {
		fmt.Fprintln(w, "\nNobody declares a store: pods leave their nodes within their budgets, and that is all. docs/stores.md says how to declare one.")
	}
	for i := range d.Stores {
		fmt.Fprintln(w)
		d.Stores[i].print(w)
	}
	if d.probe {
		fmt.Fprintln(w)
		probedTable(w, d.Probed)
	}
}
