package config

import "fmt"

// refuse records what smtpd does not start with.
func (c *checker) refuse(pos Pos, format string, args ...any) {
	if len(c.cfg.Unsupported) < maxErrors {
		c.cfg.Unsupported = append(c.cfg.Unsupported,
			Unsupported{pos, shown(fmt.Sprintf(format, args...)), c.rep.line(pos)})
	}
}
