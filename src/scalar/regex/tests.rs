use super::*;

fn found(pattern: &str, text: &str) -> String {
    let regex = match Regex::new(pattern, Flags::default()) {
        Ok(r) => r,
        Err(e) => return format!("{} {}", e.code.as_str(), e.message),
    };
    let spans = regex.find(&Subject::new(text), 0).expect("searches");
    let matched = regex.is_match(text).expect("searches");
    assert_eq!(spans.is_some(), matched, "{pattern} on {text}");
    let show = |s: Option<(usize, usize)>| s.map_or("-".to_string(), |(a, b)| text[a..b].to_string());
    spans.map_or("none".to_string(), |all| all.into_iter().map(show).collect::<Vec<_>>().join("/"))
}

/// Each answer is PostgreSQL 15's.
#[test]
fn the_match_is_the_one_that_postgresql_chooses() {
    let cases = [
        ("a|ab|abc", "abcd", "abc"),
        ("(?:x|xy)z?", "xyzabc", "xyz"),
        ("(o+?)b", "foobar", "oob/oo"),
        ("Y*([0-9]{1,3})", "XY1234Z", "Y123/123"),
        ("Y*?([0-9]{1,3})", "XY1234Z", "Y1/1"),
        ("(?:(.*?)(\\d+)(.*)){1,1}", "abc01234xyz", "abc01234xyz/abc/01234/xyz"),
        ("(.*)(\\d+)(.*)", "abc01234xyz", "abc01234xyz/abc0123/4/xyz"),
        ("(.*?)(\\d+)(.*)", "abc01234xyz", "abc0/abc/0/"),
        ("a{1,2}?", "aaa", "a"),
        ("(x)?foo", "foobar", "foo/-"),
        ("()foo", "foobar", "foo/"),
        ("(a|ab)(c|bcd)?", "abcd", "abcd/a/bcd"),
        ("a*(?:ab)*(.*)", "aab", "aab/"),
        ("(a*)(ab)*(b*)", "abc", "ab/a/-/b"),
        ("(a+|b+|c+)*", "abbcz", "abbc/c"),
        ("((a)|(b))+", "ab", "ab/b/-/b"),
        ("(o)\\1", "foobar", "oo/o"),
        ("(f)\\1", "foobar", "none"),
        ("^(.)(.)?\\2$", "abb", "abb/a/b"),
        ("(a*)\\1", "aaaa", "aaaa/aa"),
        ("(b*|.)??\\1", "", "/"),
        ("\\m(b*)*a*", "ca", "/"),
        ("foo(?=bar)", "foobar", "foo"),
        ("foo(?!bar)", "foobar", "none"),
        ("(?<=foo)bar", "foobar", "bar"),
        ("(?<!foo)bar", "foobar", "none"),
        ("\\mbar\\M", "foo bar", "bar"),
        ("\\Yoo\\Y", "foob", "oo"),
        ("[[:<:]]b", "a b", "b"),
        ("(?i)B", "abc", "b"),
        ("***=a.", "aba.", "a."),
        ("a{", "a{", "a{"),
        ("a{,2}", "a{,2}", "a{,2}"),
        ("[]a]+", "b]a", "]a"),
        ("[a-]+", "b-a", "-a"),
        ("[^\\d]", "1x", "x"),
        ("\\x41", "A", "A"),
        ("\\101", "A", "A"),
        ("a(?#note)b", "ab", "ab"),
        ("(?x)a b # c", "ab", "ab"),
        ("a**", "a", "2201B invalid regular expression: quantifier operand invalid"),
        ("^*", "a", "2201B invalid regular expression: quantifier operand invalid"),
        ("(", "a", "2201B invalid regular expression: parentheses () not balanced"),
        (")", "a", "2201B invalid regular expression: parentheses () not balanced"),
        ("[", "a", "2201B invalid regular expression: brackets [] not balanced"),
        ("[z-a]", "a", "2201B invalid regular expression: invalid character range"),
        ("[[:foo:]]", "a", "2201B invalid regular expression: invalid character class"),
        ("a{2,1}", "a", "2201B invalid regular expression: invalid repetition count(s)"),
        ("a{1", "a", "2201B invalid regular expression: braces {} not balanced"),
        ("a{256}", "a", "2201B invalid regular expression: invalid repetition count(s)"),
        ("\\", "a", "2201B invalid regular expression: invalid escape \\ sequence"),
        ("\\x{f3}", "a", "2201B invalid regular expression: invalid escape \\ sequence"),
        ("\\9", "a", "2201B invalid regular expression: invalid backreference number"),
        ("(?P<x>a)", "a", "2201B invalid regular expression: invalid embedded option"),
    ];
    for (pattern, text, wanted) in cases {
        assert_eq!(found(pattern, text), wanted, "{pattern} on {text}");
    }
}

#[test]
fn similar_patterns_are_regular_expressions() {
    assert_eq!(similar("%#\"o_b#\"%", "#").expect("converts"), "^(?:.*){1,1}?(o.b){1,1}(?:.*)$");
    assert_eq!(similar("a.[^]x]|b", "\\").expect("converts"), "^(?:a\\.[^]x]|b)$");
    assert_eq!(similar("a", "xx").map_err(|e| e.code.as_str().to_string()), Err("22025".to_string()));
}
