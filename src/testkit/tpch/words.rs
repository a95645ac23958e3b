//! The vocabularies of TPC-H (clause 4.2.2.13), and texts made of them.

use crate::Random;

/// Names of regions; the key is the place.
pub const REGIONS: &[&str] = &["AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"];

/// Names of nations with their regions; the key is the place.
pub const NATIONS: &[(&str, u64)] = &[
    ("ALGERIA", 0),
    ("ARGENTINA", 1),
    ("BRAZIL", 1),
    ("CANADA", 1),
    ("EGYPT", 4),
    ("ETHIOPIA", 0),
    ("FRANCE", 3),
    ("GERMANY", 3),
    ("INDIA", 2),
    ("INDONESIA", 2),
    ("IRAN", 4),
    ("IRAQ", 4),
    ("JAPAN", 2),
    ("JORDAN", 4),
    ("KENYA", 0),
    ("MOROCCO", 0),
    ("MOZAMBIQUE", 0),
    ("PERU", 1),
    ("CHINA", 2),
    ("ROMANIA", 3),
    ("SAUDI ARABIA", 4),
    ("VIETNAM", 2),
    ("RUSSIA", 3),
    ("UNITED KINGDOM", 3),
    ("UNITED STATES", 1),
];

/// The words of a part's name; some of the specification's 92.
const COLORS: &[&str] = &[
    "almond",
    "antique",
    "aquamarine",
    "azure",
    "beige",
    "bisque",
    "black",
    "blanched",
    "blue",
    "blush",
    "brown",
    "burlywood",
    "chartreuse",
    "chiffon",
    "chocolate",
    "coral",
    "cornflower",
    "cream",
    "cyan",
    "dark",
    "dim",
    "dodger",
    "drab",
    "firebrick",
    "floral",
    "forest",
    "frosted",
    "ghost",
    "goldenrod",
    "green",
    "honeydew",
    "hot",
    "indian",
    "ivory",
    "khaki",
    "lace",
    "lavender",
    "lemon",
    "linen",
    "magenta",
    "maroon",
    "midnight",
    "mint",
    "navy",
    "olive",
    "orange",
    "orchid",
    "peru",
    "pink",
    "plum",
    "powder",
    "purple",
    "red",
    "rose",
    "salmon",
    "sienna",
    "sky",
    "snow",
    "steel",
    "tan",
    "thistle",
    "tomato",
    "violet",
    "wheat",
    "white",
    "yellow",
];

const TYPES: [&[&str]; 3] = [
    &["STANDARD", "SMALL", "MEDIUM", "LARGE", "ECONOMY", "PROMO"],
    &["ANODIZED", "BURNISHED", "PLATED", "POLISHED", "BRUSHED"],
    &["TIN", "NICKEL", "BRASS", "STEEL", "COPPER"],
];
const CONTAINERS: [&[&str]; 2] =
    [&["SM", "LG", "MED", "JUMBO", "WRAP"], &["CASE", "BOX", "BAG", "JAR", "PKG", "PACK", "CAN", "DRUM"]];
/// Market segments.
pub const SEGMENTS: &[&str] = &["AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD"];
/// Order priorities.
pub const PRIORITIES: &[&str] = &["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"];
/// Instructions to who ships.
pub const INSTRUCTIONS: &[&str] = &["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"];
/// How it is shipped. Query 19 asks for `AIR REG`, which the specification's data does not have either.
pub const MODES: &[&str] = &["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"];

const COMMENT: &[&str] = &[
    "accounts",
    "asymptotes",
    "blithely",
    "bold",
    "carefully",
    "courts",
    "deposits",
    "dolphins",
    "even",
    "final",
    "foxes",
    "furiously",
    "ideas",
    "instructions",
    "ironic",
    "packages",
    "pending",
    "pinto beans",
    "platelets",
    "quickly",
    "quiet",
    "regular",
    "slyly",
    "theodolites",
    "unusual",
];

/// Words, at most `length_max` characters of them.
pub fn comment(random: &mut Random, length_max: usize) -> String {
    let mut out = String::new();
    for _ in 0..2 + random.below(6) {
        let word = random.pick(COMMENT);
        if out.len() + 1 + word.len() > length_max {
            break;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// A part's name: five colours, none twice.
pub fn part_name(random: &mut Random) -> String {
    let mut colors: Vec<&str> = vec![];
    while colors.len() < 5 {
        let color = random.pick(COLORS);
        if !colors.contains(&color) {
            colors.push(color);
        }
    }
    colors.join(" ")
}

/// A part's type.
pub fn part_type(random: &mut Random) -> String {
    TYPES.map(|syllables| random.pick(syllables)).join(" ")
}

/// A part's container.
pub fn container(random: &mut Random) -> String {
    CONTAINERS.map(|syllables| random.pick(syllables)).join(" ")
}

/// The manufacturer's number and the brand's.
pub fn brand(random: &mut Random) -> (u64, u64) {
    let manufacturer = 1 + random.below(5);
    (manufacturer, manufacturer * 10 + 1 + random.below(5))
}

/// A phone number of a nation (clause 4.2.2.9).
pub fn phone(random: &mut Random, nation: u64) -> String {
    let mut part = |from: u64, to: u64| from + random.below(to - from + 1);
    let (a, b, c) = (part(100, 999), part(100, 999), part(1000, 9999));
    format!("{}-{a}-{b}-{c}", nation + 10)
}

/// An amount of cents.
pub fn money(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.unsigned_abs() / 100, cents.unsigned_abs() % 100)
}

/// The date so many days after 1992-01-01.
pub fn date(days: u64) -> String {
    let (mut year, mut left) = (1992, days);
    loop {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        for (month, length) in lengths.into_iter().enumerate() {
            if left < length {
                return format!("{year}-{:02}-{:02}", month + 1, left + 1);
            }
            left -= length;
        }
        year += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_amounts() {
        assert_eq!([date(0), date(59), date(60), date(366)], ["1992-01-01", "1992-02-29", "1992-03-01", "1993-01-01"]);
        assert_eq!(date(2405), "1998-08-02");
        assert_eq!([money(-99_999), money(5), money(-5)], ["-999.99", "0.05", "-0.05"]);
    }

    #[test]
    fn comments_are_not_longer_than_they_may_be() {
        let mut random = Random::new(1);
        assert!((0..1000).all(|_| (1..=23).contains(&comment(&mut random, 23).len())));
    }
}
