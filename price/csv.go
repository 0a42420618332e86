package price

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
)

// columns are those without which a table is no price list of AWS's, others those that are looked at where they are there.
var (
	columns = []string{"sku", "termtype", "unit", "priceperunit", "currency", "productfamily", "usagetype", "regioncode"}
	others  = []string{"startingrange", "locationtype", "instancetype", "operatingsystem", "tenancy", "preinstalledsw", "capacitystatus", "volumeapiname",
		"databaseengine", "deploymentoption"}
)

// readCSV reads a few lines of two fields, the names of the columns, and a line for each price.
func (l *list) readCSV(r io.Reader, m *meter) error {
	c := csv.NewReader(r)
	c.FieldsPerRecord, c.ReuseRecord = -1, true
	var used int64
	m.used = func() int64 { return used } // a record, not a line: a quote that does not end makes one of the whole file
	head, err := l.head(c)
	if err != nil {
		return err
	}
	for {
		used = c.InputOffset()
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		line, _ := c.FieldPos(0)
		if len(record) != len(head) {
			return fmt.Errorf("line %d: %d fields, but there are %d columns: is the file cut?", line, len(record), len(head))
		}
		if err := l.row(head, record); err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
}

// head reads up to the names of the columns; of those that are not looked at it is "".
func (l *list) head(c *csv.Reader) ([]string, error) {
	const most = 20 // lines before it; AWS writes five
	for range most {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if plain(record[0]) == "publicationdate" && len(record) > 1 {
			l.publish(record[1])
		}
		if plain(record[0]) != "sku" {
			continue
		}
		head := make([]string, len(record))
		for i, name := range record {
			if name = plain(name); slices.Contains(columns, name) || slices.Contains(others, name) {
				head[i] = name
			}
		}
		for _, name := range columns {
			if !slices.Contains(head, name) {
				line, _ := c.FieldPos(0)
				return nil, fmt.Errorf("line %d: no column is called %s", line, name)
			}
		}
		return head, nil
	}
	return nil, errors.New("neither JSON nor a table with a column SKU: it is no offer file of AWS's price list")
}

func (l *list) row(head, record []string) error {
	p := product{}
	for i, name := range head {
		if name != "" {
			p[name] = record[i]
		}
	}
	k, monthly, ok := p.key()
	if !ok || p["termtype"] != "OnDemand" || !unit(monthly, p["unit"]) || p["startingrange"] != "" && p["startingrange"] != "0" {
		return nil
	}
	return l.add(k, monthly, p["priceperunit"], p["currency"])
}
