package price_test

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"drover.dev/price"
)

func readFile(t *testing.T, name string) *price.Book {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := price.Read(f, name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRead(t *testing.T) {
	for _, form := range []string{"json", "csv"} {
		b := price.Table().Merge(readFile(t, "ec2."+form)).Merge(readFile(t, "rds."+form))
		const source = "price list of 2026-11-01"
		for name, want := range map[string]float64{"m5.large": 0.115, "m7g.large": 0.0978} {
			if r, ok := b.Instance("eu-central-1", name); !ok || !near(r.On, want) || r.Source != source {
				t.Errorf("%s: %s: %+v %t, want %v", form, name, r, ok, want)
			}
		}
		if r, ok := b.Instance("us-east-1", "m5.large"); !ok || r.Source != table {
			t.Errorf("%s: what the lists do not have is the table's: %+v %t", form, r, ok)
		}
		if r, ok := b.Volume("eu-central-1", "gp3", 10); !ok || !near(r.On, 0.952/730) || r.Source != source {
			t.Errorf("%s: a volume: %+v %t", form, r, ok)
		}
		if r, ok := b.Address("eu-central-1"); !ok || r.On != 0.005 || r.Source != source {
			t.Errorf("%s: an address: %+v %t", form, r, ok)
		}
		for _, c := range []struct {
			class, engine string
			multiAZ       bool
			disk          string
			on, off       float64
			source        string
		}{
			{"db.t4g.micro", "postgres", false, "gp3", 0.018, 12.7 / 730, source},
			{"db.t4g.micro", "postgres", true, "gp3", 0.035, 25.4 / 730, source},
			{"db.t4g.micro", "postgres", false, "gp2", 0.018, 12.7 / 730, source},
			{"db.t4g.micro", "postgres", true, "gp2", 0.035, 25.4 / 730, source + ", storage: drover's table (eu-west-1, 2026-11)"},
			{"db.r6g.large", "aurora-postgresql", false, "", 0.287, 0, source + ", without its storage"},
		} {
			r, ok := b.Database("eu-west-1", c.class, c.engine, c.multiAZ, 100, c.disk)
			if !ok || !near(r.On, c.on+c.off) || !near(r.Off, c.off) || r.Source != c.source {
				t.Errorf("%s: %+v: %+v %t", form, c, r, ok)
			}
		}
		if r, ok := b.Database("eu-west-1", "db.m5.large", "oracle-ee", false, 0, ""); ok {
			t.Errorf("%s: Oracle has a price without a licence: %+v", form, r)
		}
	}
}

func offer(products, terms string) string {
	return `{"offerCode":"AmazonEC2","publicationDate":"2026-11-01T00:00:00Z","products":{` + products + `},"terms":{` + terms + `}}`
}

const (
	m5   = `"A":{"sku":"A","productFamily":"Compute Instance","attributes":{"instanceType":"m5.large","operatingSystem":"Linux","tenancy":"Shared","preInstalledSw":"NA","capacitystatus":"Used","regionCode":"cn-north-1"}}`
	head = "SKU,TermType,Unit,PricePerUnit,Currency,Product Family,usageType,Region Code,Instance Type,Operating System,Tenancy,CapacityStatus,Pre Installed S/W\n"
)

func term(price string) string {
	return `"OnDemand":{"A":{"A.J":{"priceDimensions":{"A.J.6":{"unit":"Hrs","pricePerUnit":` + price + `}}}}}`
}

func TestReadTells(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", " \n", "nothing in it: EOF"},
		{"another text", "hello\nworld\n", "neither JSON nor a table with a column SKU: it is no offer file of AWS's price list"},
		{"packed", "\x1f\x8b\x08", "it is compressed: unpack it first"},
		{"another object", `{"apiVersion":"v1"}`, "no on demand price of a Linux instance, a database, a disk or an address is in it"},
		{"no syntax", `{"products":{]}`, "byte 13: products: invalid character ']'"},
		{"no object", `{"products":[]}`, "byte 13: products: [ where an object should be"},
		{"cut in products", offer(m5, "")[:150], "it ends in the middle: is the file cut?"},
		{"cut in terms", strings.TrimSuffix(offer(m5, term(`{"USD":"0.1"}`)), "}}}"), "it ends in the middle: is the file cut?"},
		{"terms first", `{"terms":{},"products":{}}`, "byte 8: terms: terms come before the products, or there are none of Linux instances, databases, disks or addresses"},
		{"no number", offer(m5, term(`{"USD":"cheap"}`)), `terms: OnDemand: A: A.J.6: price "cheap": no number`},
		{"negative", offer(m5, term(`{"USD":"-1"}`)), `A.J.6: price "-1": no number`},
		{"no price", offer(m5, term(`{}`)), `A.J.6: no price`},
		{"a product of another form", offer(`"A":{"attributes":["x"]}`, ""), "products: A: json: cannot unmarshal array"},
		{"one endless value", `{"products":{"A":{"x":"` + strings.Repeat("x", 9<<20) + `"}}}`, "products: A: one value has more than 4 MiB"},
		{"an endless depth", `{"x":` + strings.Repeat("[", 1000) + "}", "x: nested more than 100 deep"},
		{"columns", "SKU,TermType\n", "line 1: no column is called unit"},
		{"a short row", "Version,1\n" + head + "A,OnDemand\n", "line 3: 2 fields, but there are 13 columns: is the file cut?"},
		{"a bad price", head + "A,OnDemand,Hrs,x,USD,Compute Instance,BoxUsage,us-east-1,m5.large,Linux,Shared,Used,NA\n", `line 2: price "x": no number`},
		{"no currency", head + "A,OnDemand,Hrs,1,,Compute Instance,BoxUsage,us-east-1,m5.large,Linux,Shared,Used,NA\n", `line 2: price "1": of no currency`},
		{"a quote", head + "A,On\"Demand\n", `bare " in non-quoted-field`},
		{"an endless quote", head + "\"" + strings.Repeat("x\n", 5<<20), "one value has more than 4 MiB"},
		{"reservations only", head + "A,Reserved,Hrs,1,USD,Compute Instance,BoxUsage,us-east-1,m5.large,Linux,Shared,Used,NA\n", "no on demand price"},
	} {
		b, err := price.Read(strings.NewReader(c.text), "my.list")
		if err == nil || !strings.HasPrefix(err.Error(), "price list my.list: ") || !strings.Contains(err.Error(), c.want) || b != nil {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

func TestReadKeepsTheCurrencyAndTheLowest(t *testing.T) {
	b, err := price.Read(strings.NewReader(offer(m5, term(`{"CNY":"0.7"}`))), "cn.json")
	if err != nil {
		t.Fatal(err)
	}
	if r, ok := b.Instance("cn-north-1", "m5.large"); !ok || r.On != 0.7 || r.Currency != "CNY" {
		t.Errorf("%+v %t", r, ok)
	}
	row := "A,OnDemand,Hrs,%s,USD,Compute Instance,BoxUsage,us-east-1,m5.large,Linux,Shared,Used,NA\n"
	b, err = price.Read(strings.NewReader("\ufeff"+head+fmt.Sprintf(row+row+row, "0.2", "0.1", "0")), "x.csv")
	if err != nil {
		t.Fatal(err)
	}
	if r, ok := b.Instance("us-east-1", "m5.large"); !ok || r.On != 0.1 || r.Source != "price list x.csv" {
		t.Errorf("%+v %t", r, ok)
	}
}

// long gives a head, then one product after the other that is of no interest, and then an end.
type long struct {
	part      io.Reader
	left      int
	end       string
	heap, all uint64 // what is in use when the products end; how many bytes they had
}

func (l *long) Read(p []byte) (int, error) {
	n, err := l.part.Read(p)
	if l.all += uint64(n); err == nil || l.left < 0 {
		return n, err
	}
	if l.left--; l.left < 0 {
		l.heap = inUse()
		l.part = strings.NewReader(l.end)
	} else {
		l.part = strings.NewReader(fmt.Sprintf(`,"S%d":{"productFamily":"Compute Instance","attributes":{"instanceType":"x%d","operatingSystem":"Windows"}}`, l.left, l.left))
	}
	n, err = l.part.Read(p)
	l.all += uint64(n)
	return n, err
}

func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestReadIsBounded(t *testing.T) {
	whole := offer(m5, term(`{"USD":"0.1"}`))
	at := strings.Index(whole, `},"terms"`)
	before := inUse()
	l := &long{part: strings.NewReader(whole[:at]), left: 100_000, end: whole[at:]}
	b, err := price.Read(l, "big.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := b.Instance("cn-north-1", "m5.large"); !ok {
		t.Error("the one price is not found")
	}
	if kept := int64(l.heap) - int64(before); l.all < 10<<20 || kept > 1<<20 {
		t.Errorf("%d bytes are kept of %d", kept, l.all)
	}
}

func FuzzRead(f *testing.F) {
	for _, name := range []string{"ec2.json", "rds.json", "ec2.csv", "rds.csv"} {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add(offer(m5, term(`{"USD":"0.1"}`)))
	f.Add(head + "A,OnDemand,Hrs,0.1,USD,Compute Instance,BoxUsage,us-east-1,m5.large,Linux,Shared,Used,NA\n")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := price.Read(strings.NewReader(text), "x")
		if (b == nil) != (err != nil) {
			t.Fatalf("a book: %t, and %v", b != nil, err)
		}
		if b == nil {
			return
		}
		for _, region := range []string{"us-east-1", "eu-central-1"} {
			if r, ok := b.Instance(region, "m5.large"); ok && (r.On <= 0 || r.Off != 0 || r.Currency == "") {
				t.Errorf("%+v", r)
			}
		}
	})
}
