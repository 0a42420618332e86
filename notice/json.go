package notice

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// kind is what a JSON value is, in words.
type kind string

const (
	absent  kind = "missing"
	null    kind = "null"
	text    kind = "text"
	number  kind = "a number"
	boolean kind = "true or false"
	object  kind = "an object"
	list    kind = "a list"
)

// node is a JSON value that knows where it stands, so that an error can say so. Unlike encoding/json it takes keys as they are written, and refuses
// two of one name: the two readers of such a message might each believe another one.
type node struct {
	kind   kind
	at     int // bytes before it
	text   string
	keys   []string
	fields map[string]*node
	items  []*node
}

// flaw is what is wrong with a JSON text.
type flaw struct {
	at   int
	path string // below the text's own
	what string
}

// parse reads a JSON text.
func parse(body string) (*node, *flaw) {
	var whole json.RawMessage
	if err := json.Unmarshal([]byte(body), &whole); err != nil {
		return nil, syntax(body, err)
	}
	p := &parser{body: body, decoder: json.NewDecoder(strings.NewReader(body))}
	p.decoder.UseNumber()
	n, bad := p.value(0)
	return n, bad
}

// syntax locates encoding/json's complaint. Its offset is that of the byte after the one that it did not like.
func syntax(body string, err error) *flaw {
	at := len(body)
	if s := (*json.SyntaxError)(nil); errors.As(err, &s) {
		at = min(max(int(s.Offset)-1, 0), len(body))
	}
	if strings.TrimSpace(body) == "" {
		return &flaw{at: at, what: "is empty"}
	}
	return &flaw{at: at, what: "is no JSON: " + err.Error()}
}

type parser struct {
	body    string
	decoder *json.Decoder
}

// value reads the next value. A flaw's path is below it: who reads what it is in adds a step.
func (p *parser) value(depth int) (*node, *flaw) {
	at := p.next()
	if depth > maxDepth {
		return nil, &flaw{at, "", fmt.Sprintf("is nested more than %d deep", maxDepth)}
	}
	token, err := p.decoder.Token()
	if err != nil {
		return nil, &flaw{at, "", "is no JSON: " + err.Error()}
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '{' {
			return p.object(&node{kind: object, at: at, fields: map[string]*node{}}, depth)
		}
		return p.list(&node{kind: list, at: at}, depth)
	case string:
		return &node{kind: text, at: at, text: t}, nil
	case json.Number:
		return &node{kind: number, at: at, text: t.String()}, nil
	case bool:
		return &node{kind: boolean, at: at}, nil
	}
	return &node{kind: null, at: at}, nil
}

// next is where the next token begins: the decoder's offset is where the last one ended.
func (p *parser) next() int {
	at := int(p.decoder.InputOffset())
	return at + len(p.body[at:]) - len(strings.TrimLeft(p.body[at:], " \t\r\n,:"))
}

func (p *parser) object(n *node, depth int) (*node, *flaw) {
	for p.decoder.More() {
		at := p.next()
		token, err := p.decoder.Token()
		key, ok := token.(string)
		if err != nil || !ok {
			return nil, &flaw{at, "", "has a key that is no text"}
		}
		if n.fields[key] != nil {
			return nil, &flaw{at, "", "has the key " + quote(key) + " twice"}
		}
		field, bad := p.value(depth + 1)
		if bad != nil {
			bad.path = step(key) + bad.path
			return nil, bad
		}
		n.keys, n.fields[key] = append(n.keys, key), field
	}
	p.decoder.Token() // the brace; the text as a whole was found to be JSON
	return n, nil
}

func (p *parser) list(n *node, depth int) (*node, *flaw) {
	for p.decoder.More() {
		item, bad := p.value(depth + 1)
		if bad != nil {
			bad.path = fmt.Sprintf("[%d]%s", len(n.items), bad.path)
			return nil, bad
		}
		n.items = append(n.items, item)
	}
	p.decoder.Token()
	return n, nil
}

// step is one step of a path. A key that would not read as one is quoted.
func step(key string) string {
	if key == "" || len(key) > 80 || strings.ContainsFunc(key, func(c rune) bool { return !strings.ContainsRune(plainKey, c) }) {
		return "[" + strconv.QuoteToASCII(key[:min(len(key), 80)]) + "]"
	}
	return "." + key
}

const plainKey = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
