package price

import "fmt"

// tableDate is when the table was written.
const tableDate = "2026-11"

// Table is drover's own: roughly what AWS listed on demand when it was written (2026-11), put down by people who knew the figures, not taken from a
// price list. It is there so that a plan can say something of the most usual sizes in three regions, and the source of each figure says that it is from
// here. What was not known for certain is left out, so nearly all databases of the European regions are. Price lists (Read) and given prices go before it.
func Table() *Book {
	b := &Book{prices: map[key]cost{}}
	for _, f := range instanceTable {
		for _, size := range f.sizes {
			b.put(key{kind: instances, region: f.region, name: f.name + "." + size.name}, f.large*size.larges)
		}
	}
	for _, d := range databaseTable {
		for i, price := range d.prices {
			k := key{kind: databases, region: d.region, name: "db." + d.family + "." + databaseSizes[d.from+i], engine: d.engine}
			b.put(k, price)
			k.multiAZ = true
			b.put(k, 2*price) // with a standby of the same size
		}
	}
	for _, r := range regionTable {
		b.put(key{kind: addresses, region: r.name}, 0.005)
		b.put(key{kind: volumes, region: r.name, name: "gp2"}, r.gp2/hoursOfMonth)
		b.put(key{kind: volumes, region: r.name, name: "gp3"}, r.gp3/hoursOfMonth)
		for _, disk := range []string{"gp2", "gp3"} { // of RDS, at one price
			b.put(key{kind: storages, region: r.name, name: disk}, r.database/hoursOfMonth)
			b.put(key{kind: storages, region: r.name, name: disk, multiAZ: true}, 2*r.database/hoursOfMonth)
		}
	}
	return b
}

func (b *Book) put(k key, perHour float64) {
	b.prices[k] = cost{perHour, "USD", fmt.Sprintf("drover's table (%s, %s)", k.region, tableDate)}
}

// size is one of a family, and how many of its large ones it costs.
type size struct {
	name   string
	larges float64
}

var (
	burstable = []size{{"nano", 1. / 16}, {"micro", 1. / 8}, {"small", 1. / 4}, {"medium", 1. / 2}, {"large", 1}, {"xlarge", 2}, {"2xlarge", 4}}
	steady    = []size{{"large", 1}, {"xlarge", 2}, {"2xlarge", 4}, {"4xlarge", 8}}
)

// instanceTable has the hourly price of each family's large.
var instanceTable = []struct {
	region, name string
	large        float64
	sizes        []size
}{
	{"us-east-1", "t3", 0.0832, burstable}, {"us-east-1", "t3a", 0.0752, burstable}, {"us-east-1", "t4g", 0.0672, burstable},
	{"us-east-1", "m5", 0.096, steady}, {"us-east-1", "m6i", 0.096, steady}, {"us-east-1", "m7g", 0.0816, steady},
	{"us-east-1", "c5", 0.085, steady}, {"us-east-1", "c6i", 0.085, steady},
	{"us-east-1", "r5", 0.126, steady}, {"us-east-1", "r6i", 0.126, steady},

	{"eu-central-1", "t3", 0.096, burstable}, {"eu-central-1", "t3a", 0.0864, burstable}, {"eu-central-1", "t4g", 0.0768, burstable},
	{"eu-central-1", "m5", 0.115, steady}, {"eu-central-1", "m6i", 0.115, steady},
	{"eu-central-1", "c5", 0.097, steady}, {"eu-central-1", "c6i", 0.097, steady},
	{"eu-central-1", "r5", 0.152, steady}, {"eu-central-1", "r6i", 0.152, steady},

	{"eu-west-1", "t3", 0.0912, burstable}, {"eu-west-1", "t3a", 0.0816, burstable}, {"eu-west-1", "t4g", 0.0736, burstable},
	{"eu-west-1", "m5", 0.107, steady}, {"eu-west-1", "m6i", 0.107, steady},
	{"eu-west-1", "c5", 0.096, steady}, {"eu-west-1", "c6i", 0.0912, steady},
	{"eu-west-1", "r5", 0.141, steady}, {"eu-west-1", "r6i", 0.141, steady},
}

var databaseSizes = []string{"micro", "small", "medium", "large", "xlarge", "2xlarge", "4xlarge"}

// databaseTable has hourly prices in a single zone, of sizes in a row; from is the first. RDS's do not always double.
var databaseTable = []struct {
	region, family, engine string
	from                   int
	prices                 []float64
}{
	{"us-east-1", "t3", "postgres", 0, []float64{0.018, 0.036, 0.072, 0.145, 0.29, 0.579}},
	{"us-east-1", "t3", "mysql", 0, []float64{0.017, 0.034, 0.068, 0.136, 0.272, 0.544}},
	{"us-east-1", "t4g", "postgres", 0, []float64{0.016, 0.032, 0.065, 0.129, 0.258, 0.517}},
	{"us-east-1", "t4g", "mysql", 0, []float64{0.016, 0.032, 0.065, 0.129, 0.258, 0.517}},
	{"us-east-1", "m5", "postgres", 3, []float64{0.178, 0.356, 0.712, 1.424}},
	{"us-east-1", "m5", "mysql", 3, []float64{0.171, 0.342, 0.684, 1.368}},
	{"us-east-1", "m6g", "postgres", 3, []float64{0.159, 0.318, 0.636, 1.272}},
	{"us-east-1", "m6g", "mysql", 3, []float64{0.152, 0.304, 0.608, 1.216}},
	{"us-east-1", "r5", "postgres", 3, []float64{0.25, 0.5, 1, 2}},
	{"us-east-1", "r5", "mysql", 3, []float64{0.24, 0.48, 0.96, 1.92}},
	{"us-east-1", "r6g", "postgres", 3, []float64{0.225, 0.45}},
	{"us-east-1", "r6g", "mysql", 3, []float64{0.215, 0.43}},
	{"eu-central-1", "t3", "postgres", 0, []float64{0.021}},
	{"eu-central-1", "t3", "mysql", 1, []float64{0.04}},
}

// regionTable has prices by the month of a GiB: of RDS's storage, and of EBS's volumes.
var regionTable = []struct {
	name               string
	database, gp2, gp3 float64
}{
	{"us-east-1", 0.115, 0.10, 0.08},
	{"eu-central-1", 0.137, 0.119, 0.0952},
	{"eu-west-1", 0.127, 0.11, 0.088},
}
