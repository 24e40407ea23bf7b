package config

// oldRule is a line that begins with accept or reject.
type oldRule struct {
	pos         Pos
	reject      bool
	tag         *option
	from        *option // "from any", "from local" or "from source"
	conds       []oldCond
	sender      *option
	recipient   *option
	auth        *option
	userbase    *tableArg
	alias       *tableArg
	virtual     *tableArg
	method      Method
	path        word // of a local method
	rcptTo      bool
	user        word
	via         *word     // relay via URL
	viaTable    *tableArg // relay via map
	relay       []option
	expire      word
	forwardOnly bool
}

// oldCond is what stands after for. In the time of maps there can be several.
type oldCond struct {
	pos     Pos
	name    string // any, local, domain or virtual
	not     bool
	table   *tableArg
	virtual bool // the table is that of the virtual users as well
}

// unit is a directive of an old file and what became of it.
type unit struct {
	pos     Pos
	last    int    // its last line
	note    string // what there is to say about it in a converted file
	lost    bool   // part of it cannot be said in today's language
	include string // it is the inclusion of this file
	rule    *oldRule
	listen  *directive
	setting *directive // which is of today already, or needs a look
	today   []*directive
}
