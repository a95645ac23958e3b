//! A real Kafka broker in KRaft mode from the jars that `cargo xtask test` fetches.

use crate::HarnessError;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a broker may take until it answers.
const START_SECONDS_MAX: u64 = 60;
/// Any identifier does for a cluster of one.
const CLUSTER_ID: &str = "aGVhZHdhdGVyLXRlc3RzAA";

/// A broker on free ports, its log in a temporary directory.
#[derive(Debug)]
pub struct KafkaBroker {
    port: u16,
    jars: PathBuf,
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl KafkaBroker {
    /// Where the jars are, or `None` where they were not fetched.
    pub fn jars() -> Option<PathBuf> {
        let home = PathBuf::from(std::env::var_os("HOME")?);
        let dir = home.join(".cache/headwater/kafka");
        dir.join("complete-3.9.1").is_file().then_some(dir)
    }

    /// Formats a log directory, starts a broker and waits until it answers.
    pub async fn start() -> Result<KafkaBroker, HarnessError> {
        let jars = Self::jars().ok_or_else(|| HarnessError("no Kafka jars: run cargo xtask test".into()))?;
        let dir = tempfile::tempdir().map_err(HarnessError::wrap("temporary directory"))?;
        let (port, controller) = (free_port()?, free_port()?);
        let mut broker = KafkaBroker { port, jars, dir, child: None };
        let file = broker.properties();
        std::fs::write(&file, broker.properties_text(controller)).map_err(HarnessError::wrap("properties"))?;
        let formatted = broker
            .java("kafka.tools.StorageTool")
            .args(["format", "-t", CLUSTER_ID, "-c"])
            .arg(&file)
            .output()
            .map_err(HarnessError::wrap("java"))?;
        if !formatted.status.success() {
            return Err(HarnessError(String::from_utf8_lossy(&formatted.stderr).into_owned()));
        }
        broker.restart().await?;
        Ok(broker)
    }

    /// `bootstrap.servers`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already, which is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it on the same log and ports, after [`KafkaBroker::kill`].
    pub async fn restart(&mut self) -> Result<(), HarnessError> {
        let mut command = self.java("kafka.Kafka");
        command.arg(self.properties()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().map_err(HarnessError::wrap("java"))?);
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        while Instant::now() < deadline {
            let admin = self.admin()?;
            let asked = tokio::task::spawn_blocking(move || {
                admin.inner().fetch_metadata(None, Duration::from_secs(2)).is_ok_and(|m| !m.brokers().is_empty())
            });
            if asked.await.unwrap_or(false) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Err(HarnessError(format!("the broker did not answer within {START_SECONDS_MAX} s")))
    }

    /// Creates a topic.
    pub async fn create_topic(&self, name: &str, partitions: i32) -> Result<(), HarnessError> {
        self.create_topic_with(name, partitions, "cleanup.policy", "delete").await
    }

    /// Creates a topic with a setting of its own.
    pub async fn create_topic_with(
        &self,
        name: &str,
        partitions: i32,
        setting: &str,
        value: &str,
    ) -> Result<(), HarnessError> {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1)).set(setting, value);
        let made = self.admin()?.create_topics([&topic], &AdminOptions::new()).await.map_err(harness)?;
        made.into_iter().try_for_each(|r| r.map(|_| ()).map_err(|(t, e)| HarnessError(format!("{t}: {e}"))))
    }

    /// Raises the number of partitions.
    pub async fn add_partitions(&self, name: &str, partitions: usize) -> Result<(), HarnessError> {
        let wanted = NewPartitions::new(name, partitions);
        let made = self.admin()?.create_partitions([&wanted], &AdminOptions::new()).await.map_err(harness)?;
        made.into_iter().try_for_each(|r| r.map(|_| ()).map_err(|(t, e)| HarnessError(format!("{t}: {e}"))))
    }

    /// Removes a topic.
    pub async fn delete_topic(&self, name: &str) -> Result<(), HarnessError> {
        let gone = self.admin()?.delete_topics(&[name], &AdminOptions::new()).await.map_err(harness)?;
        gone.into_iter().try_for_each(|r| r.map(|_| ()).map_err(|(t, e)| HarnessError(format!("{t}: {e}"))))
    }

    /// Removes the messages of a partition before `offset`, as retention does.
    pub async fn delete_before(&self, topic: &str, partition: i32, offset: i64) -> Result<(), HarnessError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).map_err(harness)?;
        self.admin()?.delete_records(&list, &AdminOptions::new()).await.map_err(harness).map(|_| ())
    }

    /// Sends one message with a key and a time of its own (ms since 1970).
    pub async fn produce_one(
        &self,
        topic: &str,
        partition: i32,
        key: &str,
        value: &str,
        time_ms: i64,
    ) -> Result<(), HarnessError> {
        let producer: FutureProducer = self.config().create().map_err(harness)?;
        let record = FutureRecord::to(topic).partition(partition).key(key).payload(value).timestamp(time_ms);
        let sent = producer.send(record, Timeout::After(Duration::from_secs(30))).await;
        sent.map(|_| ()).map_err(|(e, _)| harness(e))
    }

    /// Sends values to one partition, in order, and waits until the broker has them.
    pub async fn produce(&self, topic: &str, partition: i32, values: &[String]) -> Result<(), HarnessError> {
        let producer: FutureProducer = self.config().set("linger.ms", "5").create().map_err(harness)?;
        let mut sent = vec![];
        for value in values {
            loop {
                // The queue of the client is bounded: wait for room.
                let record = FutureRecord::<(), str>::to(topic).partition(partition).payload(value.as_str());
                match producer.send_result(record) {
                    Ok(delivery) => break sent.push(delivery),
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        }
        for delivery in sent {
            let done = delivery.await.map_err(|_| HarnessError("the producer went away".into()))?;
            done.map_err(|(e, _)| harness(e))?;
        }
        producer.flush(Timeout::After(Duration::from_secs(30))).map_err(harness)
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address());
        config
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>, HarnessError> {
        self.config().create().map_err(harness)
    }

    fn java(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        command.args(["-Xmx512m", "-cp"]).arg(self.jars.join("*")).arg(class).stdin(Stdio::null());
        command
    }

    fn properties(&self) -> PathBuf {
        self.dir.path().join("server.properties")
    }

    fn properties_text(&self, controller: u16) -> String {
        let (port, log) = (self.port, self.dir.path().join("log").display().to_string());
        format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\nlog.dirs={log}\n\
             offsets.topic.replication.factor=1\ngroup.initial.rebalance.delay.ms=0\nauto.create.topics.enable=false\n"
        )
    }
}

impl Drop for KafkaBroker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn harness(e: KafkaError) -> HarnessError {
    HarnessError(e.to_string())
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16, HarnessError> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(HarnessError::wrap("bind"))?;
    listener.local_addr().map(|a| a.port()).map_err(HarnessError::wrap("bind"))
}
