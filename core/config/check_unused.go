package config

// checkUnused warns of names that nothing refers to: most of them are spelled otherwise
// where they were meant.
func (c *checker) checkUnused() {
	for _, kind := range []string{"action", "filter", "mda wrapper", "proc", "table"} {
		for name, pos := range c.names[kind] {
			switch {
			case c.used[kind+" "+name]:
			case kind == "action":
				c.rep.warnf(pos, "no line \"match\" has action %q: write one, or remove it when no queued mail needs it", name)
			default:
				c.rep.warnf(pos, "%s %q is used nowhere: remove it", kind, name)
			}
		}
	}
}
