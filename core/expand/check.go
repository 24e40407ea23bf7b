package expand

// CheckList says what is wrong with a list of destinations, the value of an alias.
func CheckList(list string) error {
	_, err := parseList(list)
	return err
}
