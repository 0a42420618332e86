package main

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"drover.dev/fleet"
)

func promotionText(s *fleet.Snapshot, name, effect string) string {
	_, action, err := promoted(s, name, effect)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	return strings.Join(lossOf(s.Store(action.Store), action), "\n") + "\n"
}

// What would be lost is said in figures before anybody is asked.
func TestPromote(t *testing.T) {
	s := shop()
	addOrders(&s)
	st := addCache(&s)
	var b strings.Builder
	b.WriteString(promotionText(&s, "cache-b-1", ""))
	b.WriteString(promotionText(&s, "cache-b-1", fleet.Force))
	st.Members[1].Offset = 250
	b.WriteString(promotionText(&s, "cache-b-1", fleet.Force))
	b.WriteString(promotionText(&s, "cache-b-1", fleet.Takeover))
	b.WriteString(promotionText(&s, "cache-a-1", ""))
	b.WriteString(promotionText(&s, "orders-replica-0", ""))
	b.WriteString(promotionText(&s, "api-0", ""))
	st.Members[1].ID, st.Members[1].Trouble = "", "does not answer"
	b.WriteString(promotionText(&s, "cache-b-1", ""))
	b.WriteString(promotionText(&s, "cache-b-1", fleet.Takeover))
	golden(t, "testdata/promote.txt", b.String())
}

// The consent of the master is the rule; whoever wants to do without says so.
func TestPromoteActs(t *testing.T) {
	s := shop()
	addCache(&s)
	for effect, p := range map[string]promotion{"": {}, fleet.Force: {force: true}, fleet.Takeover: {takeover: true}} {
		ref, a, err := promoted(&s, "shop/cache-b-1", p.effect())
		if err != nil || a.Verb != fleet.Failover || a.Effect != effect || a.Pod != ref || a.Peer.Name != "cache-a-1" || a.Store != "shop/cache" {
			t.Errorf("%q: %+v, %v", effect, a, err)
		}
	}
	_, _, err := promoted(&s, "cache-a-0", "")
	blocked(t, err, "it is no replica")
}

func TestTypingTheName(t *testing.T) {
	for text, code := range map[string]int{"cache-b-1\n": 0, "  cache-b-1 \n": 0, "y\n": exitRefused, "yes\n": exitRefused, "cache-b-2\n": exitRefused, "cache-b-1": exitRefused, "\n": exitRefused} {
		namesTyped(t, text, code, "cache-b-1")
	}
	for text, code := range map[string]int{"cache-b-1\nforce\n": 0, "cache-b-1\n": exitRefused, "cache-b-1\ny\n": exitRefused, "force\nforce\n": exitRefused} {
		namesTyped(t, text, code, "cache-b-1", "force")
	}
	a := &app{in: strings.NewReader("cache-b-1\n")}
	if err := a.approveNames(t.Context(), false, "cache-b-1"); err == nil || err.(*exit).code != exitRefused {
		t.Errorf("without a terminal: %v", err)
	}
	if err := a.approveNames(t.Context(), true, "cache-b-1"); err != nil {
		t.Errorf("with --yes: %v", err)
	}
}

func namesTyped(t *testing.T, text string, code int, names ...string) {
	t.Helper()
	err := typedNames(t.Context(), strings.NewReader(text), io.Discard, names...)
	var coded *exit
	if code == 0 && err != nil || code != 0 && (!errors.As(err, &coded) || coded.code != code) {
		t.Errorf("%q for %q: %v", text, names, err)
	}
}

// Whoever is about to lose writes that need not be lost is asked twice.
func TestPromoteAsksTwice(t *testing.T) {
	s := shop()
	st := addCache(&s)
	for _, tc := range []struct {
		effect, trouble string
		want            []string
	}{
		{"", "", []string{"cache-b-1"}},
		{fleet.Force, "", []string{"cache-b-1", "force"}},
		{fleet.Takeover, "", []string{"cache-b-1", "takeover"}},
		{fleet.Force, "does not answer", []string{"cache-b-1"}},
	} {
		st.Members[1].Trouble = ""
		_, a, err := promoted(&s, "cache-b-1", tc.effect)
		if err != nil {
			t.Fatal(err)
		}
		st.Members[1].Trouble = tc.trouble
		if got := toType(st, a); !slices.Equal(got, tc.want) {
			t.Errorf("%q, %q: %q, want %q", tc.effect, tc.trouble, got, tc.want)
		}
	}
}

func TestPromoteOneWay(t *testing.T) {
	err := (&app{}).promote(t.Context(), "cache-b-1", &promotion{force: true, takeover: true})
	var coded *exit
	if !errors.As(err, &coded) || coded.code != exitUsage || err.Error() != "--force or --takeover, not both" {
		t.Errorf("got %v", err)
	}
}
