package ipc

import (
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"sync"
)

// The encoding is plain: fields in order, integers as varints, strings and slices with
// their length in front, pointers with one octet that says whether there is a value.
// A type that knows its own binary form (time.Time, netip.Addr) writes that, with its
// length in front. What a struct cannot express here (maps, interfaces, unexported fields)
// is an error the first time it is used, not a silent loss.

// Raw is the payload of a message that is passed on as it is.
type Raw []byte

// marshal appends the encoding of the struct that v is or points to.
func (c *codec) marshal(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return b, nil
	case *Raw:
		return append(b, *v...), nil
	}
	rv := reflect.Indirect(reflect.ValueOf(v))
	co, err := c.coder(rv.Type())
	if err != nil {
		return b, err
	}
	return co.enc(b, rv)
}

// unmarshal reads into the struct that v points to. Octets that are missing and octets
// that are left over are errors.
func (c *codec) unmarshal(b []byte, v any) error {
	switch v := v.(type) {
	case nil:
		if len(b) != 0 {
			return errors.New("ipc: unexpected payload")
		}
		return nil
	case *Raw:
		*v = append(Raw(nil), b...)
		return nil
	}
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Pointer || rv.IsNil() {
		return fmt.Errorf("ipc: cannot decode into %T", v)
	}
	co, err := c.coder(rv.Type().Elem())
	if err != nil {
		return err
	}
	d := decoder{b: b}
	if err := co.dec(&d, rv.Elem()); err != nil {
		return err
	}
	if len(d.b) != 0 {
		return fmt.Errorf("ipc: %d octets too many for %T", len(d.b), v)
	}
	return nil
}

type coder struct {
	enc func(b []byte, v reflect.Value) ([]byte, error)
	dec func(d *decoder, v reflect.Value) error
}

// codec remembers how the types that it has met are encoded.
type codec struct{ types sync.Map } // reflect.Type -> coder

func (c *codec) coder(t reflect.Type) (coder, error) {
	if co, ok := c.types.Load(t); ok {
		return co.(coder), nil
	}
	co, err := c.build(t)
	if err == nil {
		c.types.Store(t, co)
	}
	return co, err
}

func (c *codec) build(t reflect.Type) (coder, error) {
	if ownBinaryForm(t) {
		return binaryCoder, nil
	}
	switch t.Kind() {
	case reflect.Bool:
		return boolCoder, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return intCoder, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return uintCoder, nil
	case reflect.String:
		return stringCoder, nil
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return bytesCoder, nil
		}
		return c.sliceCoder(t)
	case reflect.Pointer:
		return c.pointerCoder(t)
	case reflect.Struct:
		return c.structCoder(t)
	}
	return coder{}, fmt.Errorf("ipc: %s cannot be sent", t)
}

func ownBinaryForm(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[encoding.BinaryAppender]()) &&
		reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.BinaryUnmarshaler]())
}

func (c *codec) structCoder(t reflect.Type) (coder, error) {
	fields := make([]coder, t.NumField())
	for i := range fields {
		f := t.Field(i)
		if !f.IsExported() {
			return coder{}, fmt.Errorf("ipc: %s has the unexported field %s", t, f.Name)
		}
		co, err := c.coder(f.Type)
		if err != nil {
			return coder{}, fmt.Errorf("%w (field %s of %s)", err, f.Name, t)
		}
		fields[i] = co
	}
	enc := func(b []byte, v reflect.Value) (_ []byte, err error) {
		for i := range fields {
			if b, err = fields[i].enc(b, v.Field(i)); err != nil {
				return b, err
			}
		}
		return b, nil
	}
	dec := func(d *decoder, v reflect.Value) error {
		for i := range fields {
			if err := fields[i].dec(d, v.Field(i)); err != nil {
				return err
			}
		}
		return nil
	}
	return coder{enc, dec}, nil
}

func (c *codec) sliceCoder(t reflect.Type) (coder, error) {
	elem, err := c.coder(t.Elem())
	if err != nil {
		return coder{}, err
	}
	enc := func(b []byte, v reflect.Value) (_ []byte, err error) {
		b = binary.AppendUvarint(b, uint64(v.Len()))
		for i := range v.Len() {
			if b, err = elem.enc(b, v.Index(i)); err != nil {
				return b, err
			}
		}
		return b, nil
	}
	dec := func(d *decoder, v reflect.Value) error {
		n, err := d.length()
		if err != nil || n == 0 {
			return err
		}
		// Grown as elements come, so that a length alone cannot take memory.
		s := reflect.MakeSlice(t, 0, min(n, 64))
		zero := reflect.Zero(t.Elem())
		for i := range n {
			s = reflect.Append(s, zero)
			if err := elem.dec(d, s.Index(i)); err != nil {
				return err
			}
		}
		v.Set(s)
		return nil
	}
	return coder{enc, dec}, nil
}

func (c *codec) pointerCoder(t reflect.Type) (coder, error) {
	elem, err := c.coder(t.Elem())
	if err != nil {
		return coder{}, err
	}
	enc := func(b []byte, v reflect.Value) ([]byte, error) {
		if v.IsNil() {
			return append(b, 0), nil
		}
		return elem.enc(append(b, 1), v.Elem())
	}
	dec := func(d *decoder, v reflect.Value) error {
		present, err := d.octet()
		if err != nil || present == 0 {
			return err
		}
		if present != 1 {
			return errMalformed
		}
		v.Set(reflect.New(t.Elem()))
		return elem.dec(d, v.Elem())
	}
	return coder{enc, dec}, nil
}

var errMalformed = errors.New("ipc: malformed message")

var boolCoder = coder{
	func(b []byte, v reflect.Value) ([]byte, error) {
		if v.Bool() {
			return append(b, 1), nil
		}
		return append(b, 0), nil
	},
	func(d *decoder, v reflect.Value) error {
		o, err := d.octet()
		if err != nil {
			return err
		}
		if o > 1 {
			return errMalformed
		}
		v.SetBool(o == 1)
		return nil
	},
}

var intCoder = coder{
	func(b []byte, v reflect.Value) ([]byte, error) { return binary.AppendVarint(b, v.Int()), nil },
	func(d *decoder, v reflect.Value) error {
		n, size := binary.Varint(d.b)
		if size <= 0 || v.OverflowInt(n) {
			return errMalformed
		}
		d.b = d.b[size:]
		v.SetInt(n)
		return nil
	},
}

var uintCoder = coder{
	func(b []byte, v reflect.Value) ([]byte, error) { return binary.AppendUvarint(b, v.Uint()), nil },
	func(d *decoder, v reflect.Value) error {
		n, size := binary.Uvarint(d.b)
		if size <= 0 || v.OverflowUint(n) {
			return errMalformed
		}
		d.b = d.b[size:]
		v.SetUint(n)
		return nil
	},
}

var stringCoder = coder{
	func(b []byte, v reflect.Value) ([]byte, error) {
		s := v.String()
		return append(binary.AppendUvarint(b, uint64(len(s))), s...), nil
	},
	func(d *decoder, v reflect.Value) error {
		s, err := d.bytes()
		if err != nil {
			return err
		}
		v.SetString(string(s))
		return nil
	},
}

// bytesCoder keeps nil and empty apart: a body of no octets is still a body.
var bytesCoder = coder{
	func(b []byte, v reflect.Value) ([]byte, error) {
		if v.IsNil() {
			return binary.AppendUvarint(b, 0), nil
		}
		s := v.Bytes()
		return append(binary.AppendUvarint(b, uint64(len(s))+1), s...), nil
	},
	func(d *decoder, v reflect.Value) error {
		n, size := binary.Uvarint(d.b)
		if size <= 0 || n > uint64(len(d.b)-size)+1 {
			return errMalformed
		}
		d.b = d.b[size:]
		if n == 0 {
			return nil
		}
		v.SetBytes(append(make([]byte, 0, n-1), d.b[:n-1]...))
		d.b = d.b[n-1:]
		return nil
	},
}

var binaryCoder = coder{
	func(b []byte, v reflect.Value) ([]byte, error) {
		own, err := v.Interface().(encoding.BinaryAppender).AppendBinary(nil)
		if err != nil {
			return b, err
		}
		return append(binary.AppendUvarint(b, uint64(len(own))), own...), nil
	},
	func(d *decoder, v reflect.Value) error {
		own, err := d.bytes()
		if err != nil {
			return err
		}
		return v.Addr().Interface().(encoding.BinaryUnmarshaler).UnmarshalBinary(own)
	},
}

type decoder struct{ b []byte }

func (d *decoder) octet() (byte, error) {
	if len(d.b) == 0 {
		return 0, errMalformed
	}
	o := d.b[0]
	d.b = d.b[1:]
	return o, nil
}

// length reads the number of elements that follow; each takes at least one octet.
func (d *decoder) length() (int, error) {
	n, size := binary.Uvarint(d.b)
	if size <= 0 || n > uint64(len(d.b)-size) {
		return 0, errMalformed
	}
	d.b = d.b[size:]
	return int(n), nil
}

func (d *decoder) bytes() ([]byte, error) {
	n, err := d.length()
	if err != nil {
		return nil, err
	}
	s := d.b[:n]
	d.b = d.b[n:]
	return s, nil
}
