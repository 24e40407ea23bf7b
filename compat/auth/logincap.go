package auth

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	maxClasses  = 1 << 20 // octets of login.conf(5)
	maxIncludes = 32      // records that one continues in
)

// defaultStyle is what a class without a word about it has.
const defaultStyle = "passwd"

// loginStyle gives the way in which users of a class prove who they are to a mail server.
// path is login.conf(5); a file with the name of the class in the directory path.d comes
// before it.
func loginStyle(path, class string) (string, error) {
	var text strings.Builder
	if class == filepath.Base(class) && class[0] != '.' {
		if err := readClasses(filepath.Join(path+".d", class), &text); err != nil {
			return "", err
		}
	}
	if err := readClasses(path, &text); err != nil {
		return "", err
	}
	return styleOf(text.String(), class)
}

func readClasses(path string, into *strings.Builder) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxClasses))
	into.Write(b)
	into.WriteByte('\n')
	return err
}

// styleOf reads records in the format of getcap(3): names separated by "|", then
// capabilities separated by ":". tc names the record in which one goes on.
func styleOf(text, class string) (string, error) {
	general := ""
	for range maxIncludes {
		fields := record(text, class)
		if fields == nil && class != "default" && general == "" {
			class = "default"
			continue
		}
		next := ""
		for _, f := range fields {
			name, value, _ := strings.Cut(f, "=")
			switch {
			case name == "auth-smtp":
				return firstStyle(value)
			case name == "auth" && general == "":
				general = value
			case name == "tc":
				next = value
			}
		}
		if next == "" {
			break
		}
		class = next
	}
	return firstStyle(general)
}

// firstStyle gives the first of the styles of a class, which is that of who asks for none.
func firstStyle(list string) (string, error) {
	style, _, _ := strings.Cut(list, ",")
	if style == "" {
		return defaultStyle, nil
	}
	if style = strings.TrimSpace(style); strings.ContainsAny(style, "/. \t") || style == "" {
		return "", errors.New("login.conf: no style of authentication: " + style)
	}
	return style, nil
}

// record gives the capabilities of the first record with a name, nil without one.
func record(text, name string) []string {
	text = strings.ReplaceAll(text, "\\\n", "")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Split(line, ":")
		for n := range strings.SplitSeq(fields[0], "|") {
			if strings.TrimSpace(n) != name {
				continue
			}
			for i := range fields {
				fields[i] = strings.TrimSpace(fields[i])
			}
			return fields[1:]
		}
	}
	return nil
}
