use super::template::Template;
use super::{read, write};
use hw_repr::numeric::Numeric;

/// Of PostgreSQL 15: function and type, value, template, and text or SQLSTATE, tab separated.
#[test]
fn templates_mean_what_they_mean_in_postgres() {
    let mut wrong = vec![];
    for line in include_str!("golden.tsv").lines().filter(|l| !l.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [kind, value, template, expected] = fields[..] else { panic!("{line}") };
        let mut out = String::new();
        let numeric = |text: &str| Numeric::parse(text).expect("a numeric");
        let result = Template::parse(template).and_then(|t| {
            if template.is_empty() && kind != "to_number" {
                return Ok(());
            }
            match kind {
                "int4" => write::integer(value.parse().expect("an integer"), &t, &mut out),
                "int8" => write::bigint(value.parse().expect("an integer"), &t, &mut out),
                "float8" => write::double(value.parse().expect("a float"), &t, &mut out),
                "float4" => write::real(value.parse().expect("a float"), &t, &mut out),
                "numeric" => write::numeric(&numeric(value), &t, &mut out),
                _ => {
                    out = read::number(value, &t)?.map_or("NULL".to_string(), |v| v.to_string());
                    Ok(())
                }
            }
        });
        let ours = match result {
            Ok(()) => format!("[{out}]"),
            Err(e) => String::from_utf8_lossy(&e.code.0).to_string(),
        };
        if ours != expected {
            wrong.push(format!("{line}: {ours}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}
