package getopt

import (
	"reflect"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args    []string
		letters string
		opts    []Option
		rest    []string
		fails   bool
	}{
		{[]string{"-dv", "-f", "file", "x"}, "df:v", []Option{{'d', ""}, {'v', ""}, {'f', "file"}}, []string{"x"}, false},
		{[]string{"-dffile"}, "df:v", []Option{{'d', ""}, {'f', "file"}}, []string{}, false},
		{[]string{"-f", "-v"}, "f:v", []Option{{'f', "-v"}}, []string{}, false},
		{[]string{"-d", "--", "-v"}, "dv", []Option{{'d', ""}}, []string{"-v"}, false},
		{[]string{"-d", "-", "-v"}, "dv", []Option{{'d', ""}}, []string{"-", "-v"}, false},
		{[]string{"-f"}, "f:", nil, nil, true},
		{[]string{"-x"}, "f:", nil, nil, true},
		{[]string{"-:"}, "f:", nil, nil, true},
	} {
		opts, rest, err := Parse(c.args, c.letters)
		if (err != nil) != c.fails || !reflect.DeepEqual(opts, c.opts) || !reflect.DeepEqual(rest, c.rest) {
			t.Errorf("Parse(%q) = %v, %q, %v", c.args, opts, rest, err)
		}
	}
}
