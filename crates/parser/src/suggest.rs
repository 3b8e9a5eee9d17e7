//! "Did you mean".

/// Words that differ in more characters than this are not similar.
const MAX_DISTANCE: usize = 2;

/// The first of the most similar `options`, if any is similar to `word`; none if `word` is one of
/// them, since then it is something else that is wrong.
pub fn similar<'a>(word: &str, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best = None;
    let mut best_distance = MAX_DISTANCE + 1;
    for option in options {
        if option == word {
            return None;
        }
        let distance = distance(word, option);
        if distance < best_distance {
            best = Some(option);
            best_distance = distance;
        }
    }
    best
}

/// Advice for a `word` that is none of `options`: the similar one, or all of them.
pub(crate) fn advice(word: &str, options: &[&str]) -> String {
    match similar(word, options.iter().copied()) {
        Some(similar) => format!("did you mean `{similar}`?"),
        None => format!("write one of {}", options.join(", ")),
    }
}

/// The number of characters to insert, delete or replace. Words whose lengths differ too much
/// are not compared.
fn distance(a: &str, b: &str) -> usize {
    let (length, other) = (a.chars().count(), b.chars().count());
    if length.abs_diff(other) > MAX_DISTANCE {
        return length.max(other);
    }
    let mut row: Vec<usize> = (0..=other).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[other]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_word_is_found() {
        let options = ["mount", "network", "security", "device"];
        for (word, expected) in [
            ("mont", Some("mount")),
            ("netwrk", Some("network")),
            ("moutn", Some("mount")),
            ("mnt", Some("mount")),
            ("mt", None),
            ("mount", None),
            ("", None),
        ] {
            assert_eq!(similar(word, options), expected, "{word}");
        }
    }
}
