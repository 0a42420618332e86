package price

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Read reads an offer file of AWS's price list, as JSON or as CSV: AmazonEC2's, AmazonRDS's or AmazonVPC's (for addresses), of one region or of all. It
// reads on demand prices only, and keeps nothing but those that a Book knows, so that a file of any size may come. The name is for errors and sources.
func Read(r io.Reader, name string) (*Book, error) {
	l := &list{book: &Book{prices: map[key]cost{}}, name: name}
	in := &meter{r: r}
	buffered := bufio.NewReader(in)
	first, err := firstByte(buffered)
	switch {
	case err != nil:
		err = fmt.Errorf("nothing in it: %w", err)
	case first == '{':
		err = l.readJSON(buffered, in)
	case first == 0x1f || first == 'P':
		err = errors.New("it is compressed: unpack it first")
	default:
		err = l.readCSV(buffered, in)
	}
	if err == nil && len(l.book.prices) == 0 {
		err = errors.New("no on demand price of a Linux instance, a database, a disk or an address is in it")
	}
	if err != nil {
		return nil, fmt.Errorf("price list %s: %w", name, err)
	}
	return l.book, nil
}

// firstByte peeks over a byte order mark and white space.
func firstByte(r *bufio.Reader) (byte, error) {
	if mark, err := r.Peek(3); err == nil && string(mark) == "\ufeff" {
		if _, err := r.Discard(3); err != nil {
			return 0, err
		}
	}
	for {
		b, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		if !strings.ContainsRune(" \t\r\n", rune(b)) {
			return b, r.UnreadByte()
		}
	}
}

// largest bounds one value of a file, so that a file of another kind does not fill the memory. AWS's largest have a few KiB.
const largest = 4 << 20

// meter refuses to read on when what reads from it has kept too much.
type meter struct {
	r    io.Reader
	read int64
	used func() int64 // how much has been made use of
}

func (m *meter) Read(p []byte) (int, error) {
	if m.used != nil && m.read-m.used() > largest {
		return 0, fmt.Errorf("one value has more than %d MiB", largest>>20)
	}
	n, err := m.r.Read(p)
	m.read += int64(n)
	return n, err
}

// list is a price list being read.
type list struct {
	book      *Book
	name      string
	published string // the date
}

func (l *list) source() string {
	if l.published == "" {
		return "price list " + l.name
	}
	return "price list of " + l.published
}

// publish notes the date of a list, 2026-11-01T00:00:00Z.
func (l *list) publish(when string) { l.published, _, _ = strings.Cut(when, "T") }

// product is what a list sells, its attributes by their names in small letters without anything else.
type product map[string]string

// plain makes the names of JSON's attributes and those of CSV's columns the same: preInstalledSw, Pre Installed S/W.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, name)
}

// engines are those whose price does not depend on a licence or an edition, by what a price list calls them.
var engines = map[string]string{
	"PostgreSQL": "postgres", "MySQL": "mysql", "MariaDB": "mariadb", "Aurora PostgreSQL": "aurora-postgresql", "Aurora MySQL": "aurora-mysql",
}

// key tells what of a book the product is the price of, and whether it is by the month.
func (p product) key() (k key, monthly, ok bool) {
	k.region = p["regioncode"]
	if where := p["locationtype"]; k.region == "" || where != "" && where != "AWS Region" {
		return k, false, false
	}
	usage := p["usagetype"]
	switch family := p["productfamily"]; {
	case strings.HasPrefix(family, "Compute Instance"):
		k.kind, k.name = instances, p["instancetype"]
		return k, false, k.name != "" && p["operatingsystem"] == "Linux" && p["tenancy"] == "Shared" && p["preinstalledsw"] == "NA" && p["capacitystatus"] == "Used"
	case family == "Storage" && p["volumeapiname"] != "" && strings.Contains(usage, "EBS:VolumeUsage"):
		k.kind, k.name = volumes, p["volumeapiname"]
		return k, true, true
	case strings.HasSuffix(usage, "PublicIPv4:InUseAddress"):
		k.kind = addresses
		return k, false, true
	case family == "Database Instance" && strings.Contains(usage, "Usage:") && !strings.Contains(usage, "IOOptimized"):
		k.kind, k.name = databases, p["instancetype"]
		k.engine, ok = engines[p["databaseengine"]]
		return k, false, ok && k.name != "" && p.zones(&k)
	case family == "Database Storage":
		k.kind, k.engine = storages, engines[p["databaseengine"]]
		k.name, ok = databaseDisk(usage)
		return k, true, ok && (k.engine != "" || p["databaseengine"] == "Any") && p.zones(&k)
	}
	return k, false, false
}

// zones reads the deployment of a database. One with readable standbys is a cluster of its own kind, which a Book does not know.
func (p product) zones(k *key) bool {
	k.multiAZ = p["deploymentoption"] == "Multi-AZ"
	return k.multiAZ || p["deploymentoption"] == "Single-AZ"
}

// databaseDisk is RDS's name of the disk that a usage is of: EUC1-RDS:Multi-AZ-GP3-Storage.
func databaseDisk(usage string) (string, bool) {
	for suffix, disk := range map[string]string{"GP2-Storage": "gp2", "GP3-Storage": "gp3"} {
		if strings.HasSuffix(usage, suffix) && strings.Contains(usage, "RDS:") {
			return disk, true
		}
	}
	return "", false
}

// add notes a price. A list may have several of one thing, for odd reasons: the lowest is kept, so that nobody is promised too much. What is for nothing
// is so under a condition.
func (l *list) add(k key, monthly bool, amount, currency string) error {
	f, err := strconv.ParseFloat(amount, 64)
	if err != nil || !isPrice(f) {
		return fmt.Errorf("price %q: no number", amount)
	}
	if currency == "" {
		return fmt.Errorf("price %q: of no currency", amount)
	}
	if monthly {
		f /= hoursOfMonth
	}
	if have, ok := l.book.prices[k]; f > 0 && (!ok || f < have.amount) {
		l.book.prices[k] = cost{f, currency, l.source()}
	}
	return nil
}

// unit tells whether a price is by what the key is reckoned in.
func unit(monthly bool, s string) bool {
	if monthly {
		return s == "GB-Mo" || s == "GB-month"
	}
	return s == "Hrs" || s == "Hours" || s == "Hour"
}
