//! Apache Kafka's jars from Maven Central, for the tests that run a real broker.

use crate::{cache, run};
use std::path::PathBuf;
use std::process::Command;

const VERSION: &str = "3.9.1";

/// The directory of the jars, filled at the first call.
pub(crate) fn fetch() -> Result<PathBuf, String> {
    let dir = cache()?.join("kafka");
    let complete = dir.join(format!("complete-{VERSION}"));
    need("java", "default-jre-headless")?;
    if complete.exists() {
        return Ok(dir);
    }
    need("mvn", "maven")?;
    std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let pom = dir.join("pom.xml");
    std::fs::write(&pom, pom_text()).map_err(|e| format!("{}: {e}", pom.display()))?;
    run(Command::new("mvn")
        .args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-f"])
        .arg(&pom)
        .arg(format!("-DoutputDirectory={}", dir.display())))?;
    std::fs::write(&complete, "").map_err(|e| format!("{}: {e}", complete.display()))?;
    Ok(dir)
}

/// Makes sure that a program is there, from the distribution where that is allowed.
fn need(program: &str, package: &str) -> Result<(), String> {
    let there = || Command::new(program).arg("-version").output().is_ok_and(|o| o.status.success());
    if there() {
        return Ok(());
    }
    println!("xtask: {program} is missing, trying apt-get install {package}");
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-q", package]).env("DEBIAN_FRONTEND", "noninteractive");
    match run(&mut install) {
        Ok(()) if there() => Ok(()),
        _ => Err(format!("{program} is not installed and package {package} could not be")),
    }
}

fn pom_text() -> String {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>"
        )
    };
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>headwater</groupId><artifactId>kafka-for-tests</artifactId><version>1</version>\
         <dependencies>{}{}</dependencies></project>\n",
        dependency("org.apache.kafka", "kafka_2.13", VERSION),
        dependency("org.slf4j", "slf4j-nop", "1.7.36"),
    )
}
