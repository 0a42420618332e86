package price

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// wanted is a product that has a place in the book, until its price comes.
type wanted struct {
	key     key
	monthly bool
}

// readJSON reads {..., "products": {SKU: {...}}, "terms": {"OnDemand": {SKU: {...}}, ...}}, and ends after the on demand terms: what follows them is
// most of the file, and about reservations.
func (l *list) readJSON(r io.Reader, m *meter) error {
	d := json.NewDecoder(r)
	m.used = d.InputOffset
	products := map[string]wanted{}
	err := object(d, func(name string) error {
		switch {
		case name == "publicationDate":
			var when string
			err := d.Decode(&when)
			l.publish(when)
			return err
		case name == "products":
			return object(d, func(sku string) error { return l.product(d, sku, products) })
		case name != "terms":
			return skip(d)
		case len(products) == 0:
			return errors.New("terms come before the products, or there are none of Linux instances, databases, disks or addresses")
		}
		return object(d, func(term string) error {
			if term != "OnDemand" {
				return skip(d)
			}
			return cmp.Or(object(d, func(sku string) error { return l.term(d, sku, products) }), errEnough)
		})
	})
	if err != nil && !errors.Is(err, errEnough) {
		return fmt.Errorf("byte %d: %w", d.InputOffset(), cut(err))
	}
	return nil
}

// errEnough ends reading early.
var errEnough = errors.New("enough was read")

// cut says in words what an end within a value means.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it ends in the middle: is the file cut?")
	}
	return err
}

// object reads one, and has each value read by what is given.
func object(d *json.Decoder, value func(name string) error) error {
	if t, err := d.Token(); err != nil {
		return err
	} else if t != json.Delim('{') {
		return fmt.Errorf("%v where an object should be", t)
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string) // the decoder takes no other
		if err := value(name); err != nil {
			return within(name, err)
		}
	}
	_, err := d.Token()
	return err
}

func within(name string, err error) error {
	if errors.Is(err, errEnough) {
		return err
	}
	return fmt.Errorf("%s: %w", name, err)
}

const deepest = 100 // AWS's go to six

// skip reads over a value, without keeping it.
func skip(d *json.Decoder) error {
	for depth := 0; ; {
		t, err := d.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
		if depth > deepest {
			return fmt.Errorf("nested more than %d deep", deepest)
		}
	}
}

func (l *list) product(d *json.Decoder, sku string, products map[string]wanted) error {
	var p struct {
		ProductFamily string
		Attributes    map[string]string
	}
	if err := d.Decode(&p); err != nil {
		return err
	}
	attributes := product{"productfamily": p.ProductFamily}
	for name, value := range p.Attributes {
		attributes[plain(name)] = value
	}
	if k, monthly, ok := attributes.key(); ok {
		products[sku] = wanted{k, monthly}
	}
	return nil
}

func (l *list) term(d *json.Decoder, sku string, products map[string]wanted) error {
	w, ok := products[sku]
	if !ok {
		return skip(d)
	}
	var offers map[string]struct {
		PriceDimensions map[string]struct {
			Unit, BeginRange string
			PricePerUnit     map[string]string
		}
	}
	if err := d.Decode(&offers); err != nil {
		return err
	}
	for _, offer := range slices.Sorted(maps.Keys(offers)) {
		dims := offers[offer].PriceDimensions
		for _, rate := range slices.Sorted(maps.Keys(dims)) {
			dim := dims[rate]
			if !unit(w.monthly, dim.Unit) || dim.BeginRange != "" && dim.BeginRange != "0" {
				continue
			}
			currency, ok := currencyOf(dim.PricePerUnit)
			if !ok {
				return fmt.Errorf("%s: no price", rate)
			}
			if err := l.add(w.key, w.monthly, dim.PricePerUnit[currency], currency); err != nil {
				return fmt.Errorf("%s: %w", rate, err)
			}
		}
	}
	return nil
}

// currencyOf is the one that a price is in; USD of several.
func currencyOf(prices map[string]string) (string, bool) {
	if _, ok := prices["USD"]; ok || len(prices) == 0 {
		return "USD", ok
	}
	return slices.Min(slices.Collect(maps.Keys(prices))), true
}
