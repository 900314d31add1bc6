package config

// Nearest is the known word that was probably meant by one that is not: the
// first of those that the fewest letters make of it, at most half of its own.
// It is empty when there is none.
func Nearest(word string, known []string) string {
	best, distance := "", len(word)/2+1
	for _, have := range known {
		if d := levenshtein(word, have); d < distance {
			best, distance = have, d
		}
	}
	return best
}

// levenshtein is the number of letters to change, add or take away.
func levenshtein(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
