package config

// maxSuggest is the length up to which words are compared. No keyword is longer.
const maxSuggest = 64

// suggest gives the candidate that s most likely stands for, or "". One letter of three
// may be wrong, two at most.
func suggest(s string, candidates []string) string {
	best, bestDistance := "", 3
	if len(s) > maxSuggest {
		return ""
	}
	for _, c := range candidates {
		if len(c) > maxSuggest || c == s {
			continue
		}
		allowed := min(2, max(len(c), len(s))/3)
		if d := distance(s, c); d <= allowed && d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance counts the letters to insert, remove, replace or swap with a neighbour to
// make b of a.
func distance(a, b string) int {
	var before, last, row [maxSuggest + 1]int
	for j := 0; j <= len(b); j++ {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
