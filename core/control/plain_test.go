package control

import (
	"reflect"
	"testing"
)

// What crosses the socket is data and nothing else.
func TestPlainData(t *testing.T) {
	for _, v := range []any{Request{}, Count{}, Text{}, Stats{}, Status{}, QueuePage{}} {
		checkPlain(t, reflect.TypeOf(v), reflect.TypeOf(v).Name())
	}
}

func checkPlain(t *testing.T, typ reflect.Type, path string) {
	switch typ.Kind() {
	case reflect.String, reflect.Bool, reflect.Int64, reflect.Uint8, reflect.Uint64:
	case reflect.Slice:
		checkPlain(t, typ.Elem(), path+"[]")
	case reflect.Struct:
		for i := range typ.NumField() {
			f := typ.Field(i)
			if !f.IsExported() {
				t.Errorf("%s.%s is not exported", path, f.Name)
			}
			checkPlain(t, f.Type, path+"."+f.Name)
		}
	default:
		t.Errorf("%s is a %s", path, typ.Kind())
	}
}
