package price_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"drover.dev/fleet"
	"drover.dev/price"
)

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

const table = "drover's table (us-east-1, 2026-11)"

func TestTable(t *testing.T) {
	b := price.Table()
	for name, want := range map[string]float64{
		"m5.large": 0.096, "m5.xlarge": 0.192, "t3.medium": 0.0416, "t3.small": 0.0208, "t3.micro": 0.0104, "t4g.nano": 0.0042, "r5.large": 0.126,
		"c5.large": 0.085, "m7g.4xlarge": 0.6528,
	} {
		if r, ok := b.Instance("us-east-1", name); !ok || !near(r.On, want) || r.Off != 0 || r.Source != table || r.Currency != "USD" || r.Subject != name {
			t.Errorf("%s: %+v %t, want %v", name, r, ok, want)
		}
	}
	for _, c := range []struct{ region, name string }{{"us-east-1", "m5.nano"}, {"us-east-1", "p5.48xlarge"}, {"eu-central-1", "m7g.large"}, {"mars-1", "m5.large"}, {"", ""}} {
		if r, ok := b.Instance(c.region, c.name); ok {
			t.Errorf("%v has a price: %+v", c, r)
		}
	}
	if r, ok := b.Volume("us-east-1", "gp3", 100); !ok || !near(r.On, 8./730) || r.Off != 0 || r.Subject != "100 GiB gp3" {
		t.Errorf("a volume: %+v %t", r, ok)
	}
	if r, ok := b.Address("eu-west-1"); !ok || !near(r.On, 0.005) {
		t.Errorf("an address: %+v %t", r, ok)
	}
}

func TestDatabase(t *testing.T) {
	for _, c := range []struct {
		class, engine string
		multiAZ       bool
		gib           int
		disk          string
		want          fleet.Rate
	}{
		{"db.t3.micro", "postgres", false, 20, "gp3", fleet.Rate{Subject: "db.t3.micro postgres", On: 0.018 + 2.3/730, Off: 2.3 / 730, Source: table}},
		{"db.t3.small", "postgres", false, 0, "", fleet.Rate{Subject: "db.t3.small postgres", On: 0.036, Source: table}},
		{"db.t3.medium", "postgres", false, 0, "", fleet.Rate{Subject: "db.t3.medium postgres", On: 0.072, Source: table}},
		{"db.m5.large", "postgres", true, 100, "gp2", fleet.Rate{Subject: "db.m5.large postgres multi-AZ", On: 0.356 + 23./730, Off: 23. / 730, Source: table}},
		{"db.m5.large", "mysql", false, 100, "io1", fleet.Rate{Subject: "db.m5.large mysql", On: 0.171, Source: table + ", without its io1 storage"}},
		{"db.r6g.large", "postgres", false, 100, "", fleet.Rate{Subject: "db.r6g.large postgres", On: 0.225, Source: table + ", without its storage"}},
	} {
		r, ok := price.Table().Database("us-east-1", c.class, c.engine, c.multiAZ, c.gib, c.disk)
		if !ok || !near(r.On, c.want.On) || !near(r.Off, c.want.Off) || r.Subject != c.want.Subject || r.Source != c.want.Source || r.Currency != "USD" {
			t.Errorf("%s %s: %+v %t, want %+v", c.class, c.engine, r, ok, c.want)
		}
	}
	for _, c := range [][2]string{{"db.t3.micro", "oracle-ee"}, {"db.x2g.large", "postgres"}, {"db.m5.micro", "postgres"}} {
		if r, ok := price.Table().Database("us-east-1", c[0], c[1], false, 20, "gp3"); ok {
			t.Errorf("%v has a price: %+v", c, r)
		}
	}
}

func TestGivenPricesWin(t *testing.T) {
	empty := &price.Book{}
	b := price.Table().With([]fleet.Rate{
		{Subject: "m5.large", On: 0.05}, {Subject: "db.t3.micro postgres", On: 0.02, Off: 0.005, Currency: "EUR", Source: "contract"}, {Subject: "group web", On: 1},
	})
	if r, ok := b.Instance("mars-1", "m5.large"); !ok || r.On != 0.05 || r.Currency != "USD" || r.Source != "given" {
		t.Errorf("m5.large: %+v %t", r, ok)
	}
	if r, ok := b.Database("us-east-1", "db.t3.micro", "postgres", false, 20, "gp3"); !ok || r.On != 0.02 || r.Off != 0.005 || r.Currency != "EUR" || r.Source != "contract" {
		t.Errorf("db.t3.micro: %+v %t", r, ok)
	}
	if r, ok := b.Database("us-east-1", "db.t3.micro", "postgres", true, 20, "gp3"); !ok || r.Source != table {
		t.Errorf("multi-AZ is not what was given: %+v %t", r, ok)
	}
	if r, ok := b.Given("group web"); !ok || r.On != 1 {
		t.Errorf("group web: %+v %t", r, ok)
	}
	if _, ok := price.Table().Given("group web"); ok {
		t.Error("With changed the book it was asked of")
	}
	if r, ok := empty.Merge(b).Instance("us-east-1", "m5.large"); !ok || r.On != 0.05 {
		t.Errorf("merged: %+v %t", r, ok)
	}
	if _, ok := empty.With(nil).Instance("us-east-1", "m5.large"); ok {
		t.Error("an empty book knows a price")
	}
}

func TestFaults(t *testing.T) {
	got := errors.Join(price.Faults([]fleet.Rate{
		{Subject: "m5.large", On: 0.1}, {On: 1}, {Subject: "m5.large", On: -3}, {Subject: "x", On: math.NaN(), Off: math.Inf(1)}, {Subject: "y", On: 1, Off: 2}, {Subject: "z", On: 1, Off: 1},
	})...)
	const want = `rates[1].subject: empty; name what it is the price of, such as m5.large or group web
rates[2].subject "m5.large": has a price already, rates[0]
rates[2].on -3: no price
rates[3].on NaN: no price
rates[3].off +Inf: no price
rates[4].off 2: more than 1 while it is on`
	if got == nil || got.Error() != want {
		t.Errorf("%v\nwant:\n%s", got, want)
	}
}

func TestMoney(t *testing.T) {
	var sum price.Sum
	if sum.String() != "" {
		t.Errorf("nothing is %q", sum)
	}
	usd := price.Saved(fleet.Rate{On: 0.1, Off: 0.02, Currency: "USD"}, 3, 90*time.Minute)
	if usd.String() != "0.36 USD" {
		t.Errorf("saved %s", usd)
	}
	before := sum.Plus(usd)
	sum = before.Plus(price.Money{Amount: 1.2, Currency: "EUR"}).Plus(price.Money{Amount: 1, Currency: "USD"})
	if sum.String() != "1.20 EUR + 1.36 USD" || before.String() != "0.36 USD" {
		t.Errorf("%s, and before it %s", sum, before)
	}
	if strings.Contains(price.Money{Amount: 1234.5, Currency: "USD"}.String(), ",") {
		t.Error("money is printed with commas")
	}
}
