//! Deployments that are loaded when they are asked, shadows, and changes of what is deployed, through the facade.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use artifact::graph::GraphBuilder;
use platform::{
    ArtifactSource, CreateEndpoint, DataType, Deploy, Deployment, DeploymentLimits, DeploymentStatus,
    EndpointUpdate, Kind, ModelName, ModelTexts, Platform, PredictReply, Question, Redeploy, Residence,
    ResourceRequest, Standing, Tensor, UploadModel, UploadTarget, VersionChoice,
};

const P: &str = "default";

async fn open(data_dir: &Path) -> Arc<Platform> {
    common::open(data_dir, Vec::new()).await
}

/// An ONNX file that takes rows of `columns`, mixes them at `inner` numbers and gives two classes; `scale` makes models differ.
fn onnx(folder: &Path, name: &str, [columns, inner]: [usize; 2], scale: f32) -> PathBuf {
    let constant = |shape: Vec<usize>| {
        let n: usize = shape.iter().product();
        let value = |i: usize| ((i % 7) as f32 - 3.0) * scale / inner as f32;
        Tensor::float32(shape, (0..n).map(value).collect()).unwrap()
    };
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", DataType::Float32, vec![None, Some(columns)]).unwrap();
    let up = graph.variable("up", constant(vec![columns, inner])).unwrap();
    let wide = graph.matmul("wide", x, up).unwrap();
    let square = graph.variable("square", constant(vec![inner, inner])).unwrap();
    let mixed = graph.matmul("mixed", wide, square).unwrap();
    let down = graph.variable("down", constant(vec![inner, 2])).unwrap();
    let logits = graph.matmul("logits", mixed, down).unwrap();
    let y = graph.softmax("softmax", logits).unwrap();
    graph.output("y", y).unwrap();
    let files = artifact::format::write_all(&graph.build().unwrap()).unwrap();
    let path = folder.join(format!("{name}.onnx"));
    let (_, model) = files.iter().find(|(file, _)| file.to_string().ends_with("model.onnx")).unwrap();
    std::fs::write(&path, model).unwrap();
    path
}

/// `inner` of a model with 48 MB of weights.
const MB_48: usize = 3464;
/// Too little room for such a model, and more than measurements of it differ by.
const SLACK_BYTES: u64 = 24_000_000;

/// How often, every 10 ms, it is looked whether what gives way to all others has been done: on a busy machine that takes a while.
const LOOKS_MAX: usize = 6000;

/// Memory is measured by what the process takes: one test at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

struct Fixture {
    _alone: tokio::sync::MutexGuard<'static, ()>,
    dir: tempfile::TempDir,
    platform: Arc<Platform>,
}

impl Fixture {
    async fn new() -> Self {
        let alone = ALONE.lock().await;
        let dir = tempfile::tempdir().unwrap();
        let platform = open(&dir.path().join("data")).await;
        Self { _alone: alone, dir, platform }
    }

    async fn upload(&self, id: &str, inner: usize, scale: f32) {
        self.upload_sized(id, [2, inner], scale).await;
    }

    async fn upload_sized(&self, id: &str, size: [usize; 2], scale: f32) {
        let request = UploadModel {
            project: P.to_owned(),
            target: UploadTarget::NewOrVersionOf { id: Some(id.to_owned()) },
            about: ModelTexts::default(),
            description: String::new(),
            source: ArtifactSource::Path(onnx(self.dir.path(), id, size, scale)),
            aliases: Vec::new(),
            labels: BTreeMap::new(),
            signature: None,
        };
        self.platform.upload_model(request).await.unwrap();
    }

    async fn endpoint(&self, id: &str) {
        let request = CreateEndpoint {
            project: P.to_owned(),
            id: Some(id.to_owned()),
            display_name: id.to_owned(),
            description: String::new(),
            labels: BTreeMap::new(),
        };
        self.platform.create_endpoint(request).await.unwrap();
    }

    /// On an endpoint of the model's name, which is made.
    async fn serve(&self, model: &str, residence: Residence) -> Deployment {
        self.endpoint(model).await;
        let standing = Standing { residence, ..Standing::default() };
        self.platform.deploy(deploy(model, model, standing, true)).await.unwrap()
    }

    async fn ask(&self, endpoint: &str, x: f32) -> platform::Result<PredictReply> {
        ask(&self.platform, endpoint, x).await
    }

    fn status(&self, endpoint: &str) -> DeploymentStatus {
        let found = self.platform.deployment_statuses().into_iter().map(|(_, status)| status);
        found.into_iter().find(|status| status.endpoint == endpoint).unwrap()
    }

    fn loaded(&self) -> Vec<String> {
        let all = self.platform.deployment_statuses().into_iter();
        all.filter(|(_, status)| status.loaded).map(|(_, status)| status.endpoint).collect()
    }
}

fn deploy(endpoint: &str, model: &str, standing: Standing, all_traffic: bool) -> Deploy {
    Deploy {
        project: P.to_owned(),
        endpoint: endpoint.to_owned(),
        model: model.to_owned(),
        deployment_id: None,
        display_name: None,
        resources: ResourceRequest { cpu_cores: Some(1.0), memory_gb: Some(4.0), ..Default::default() },
        engine: None,
        traffic_split: all_traffic.then(|| BTreeMap::from([("0".to_owned(), 100)])),
        standing,
    }
}

fn question(x: f32) -> Question {
    let row = Tensor::float32(vec![1, 2], vec![x, 1.0]).unwrap();
    Question::Tensors(vec![("x".to_owned(), row)])
}

async fn ask(platform: &Platform, endpoint: &str, x: f32) -> platform::Result<PredictReply> {
    let target = platform.target(P, endpoint, None).await?;
    platform.answer(&target, question(x)).await
}

fn bits(reply: &PredictReply) -> Vec<u32> {
    reply.outputs[0].1.as_float32().unwrap().iter().map(|x| x.to_bits()).collect()
}

fn name(model: &str) -> ModelName {
    ModelName { project: P.to_owned(), model: model.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_callers_of_an_unloaded_model_make_one_load() {
    let fixture = Fixture::new().await;
    fixture.upload("m", 64, 1.0).await;
    fixture.serve("m", Residence::OnDemand).await;
    let expected = bits(&fixture.ask("m", 0.5).await.unwrap());
    assert_eq!((fixture.status("m").loads, fixture.status("m").loaded), (1, true));
    fixture.platform.unload_model(&name("m")).unwrap();
    let unloaded = fixture.status("m");
    assert_eq!((unloaded.state().as_str(), unloaded.memory_bytes, unloaded.threads), ("unloaded", 0, 0));
    assert!(fixture.platform.readiness().ready, "it answers all the same");
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let platform = Arc::clone(&fixture.platform);
            tokio::spawn(async move { ask(&platform, "m", 0.5).await })
        })
        .collect();
    for caller in callers {
        assert_eq!(bits(&caller.await.unwrap().unwrap()), expected);
    }
    let status = fixture.status("m");
    assert_eq!((status.loads, status.state().as_str()), (2, "in service"));
    // By the model's name too, in protocols without endpoints.
    fixture.platform.unload_model(&name("m")).unwrap();
    let target = fixture.platform.model_target(&name("m"), &VersionChoice::Default).unwrap();
    target.load(&fixture.platform).await.unwrap();
    assert!(fixture.status("m").loaded);
    fixture.platform.unload_model(&name("m")).unwrap();
    assert_eq!(bits(&fixture.platform.answer(&target, question(0.5)).await.unwrap()), expected);
    assert_eq!(fixture.status("m").loads, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_not_used_for_longest_goes_and_answers_again_to_the_bit() {
    let fixture = Fixture::new().await;
    for (model, scale) in [("a", 1.0), ("b", 2.0), ("c", 3.0)] {
        fixture.upload(model, MB_48, scale).await;
    }
    // Each measured at 48 MB and more: two fit beside each other, three never.
    fixture.serve("a", Residence::OnDemand).await;
    fixture.serve("b", Residence::Pinned).await;
    let (a, b) = (fixture.ask("a", 0.5).await.unwrap(), fixture.ask("b", 0.5).await.unwrap());
    let used: u64 = ["a", "b"].iter().map(|one| fixture.status(one).memory_bytes).sum();
    fixture.platform.limit_memory((used + SLACK_BYTES) as f64 / 1e9).unwrap();
    assert!(fixture.platform.limit_memory(0.0).is_err());
    let in_flight = {
        let target = fixture.platform.target(P, "a", None).await.unwrap();
        let platform = Arc::clone(&fixture.platform);
        let mut answer = Box::pin(async move { platform.answer(&target, question(0.5)).await });
        // It has its engine from now on, however late it gets on.
        let now = answer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        tokio::spawn(async move { if let Poll::Ready(reply) = now { reply } else { answer.await } })
    };
    fixture.serve("c", Residence::OnDemand).await;
    assert_eq!(fixture.loaded(), ["b", "c"], "b is pinned");
    assert_eq!(bits(&in_flight.await.unwrap().unwrap()), bits(&a));
    let again = fixture.ask("a", 0.5).await.unwrap();
    assert_eq!(bits(&again), bits(&a));
    assert_eq!(fixture.loaded(), ["a", "b"]);
    assert_eq!(bits(&fixture.ask("b", 0.5).await.unwrap()), bits(&b));
    assert_eq!(fixture.status("b").loads, 1);

    // Beside the pinned one a second has no room, even if all others go.
    let pinned = fixture.status("b").memory_bytes;
    fixture.platform.limit_memory((pinned + SLACK_BYTES) as f64 / 1e9).unwrap();
    fixture.endpoint("d").await;
    let refused = fixture.platform.deploy(deploy("d", "c", Standing::default(), true)).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::ResourceExhausted, "{refused}");
    assert!(refused.to_string().contains("all together may use"), "{refused}");
    let pinned = fixture.platform.unload_model(&name("b")).unwrap_err();
    assert_eq!(pinned.kind(), Kind::FailedPrecondition);
    assert!(pinned.to_string().contains("endpoint resize b --deployment"), "{pinned}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_demand_comes_back_unloaded_and_a_bad_one_is_not_loaded_for_each_caller() {
    let fixture = Fixture::new().await;
    fixture.upload("m", 64, 1.0).await;
    fixture.serve("m", Residence::OnDemand).await;
    let expected = bits(&fixture.ask("m", 0.5).await.unwrap());
    let Fixture { _alone, dir, platform } = fixture;
    drop(platform);
    let platform = open(&dir.path().join("data")).await;
    let restored = platform.restore_deployments().await.unwrap();
    assert_eq!((restored.len(), restored[0].state().as_str(), restored[0].loads), (1, "unloaded", 0));
    assert_eq!(restored[0].engine, "rten");
    // Its file is damaged before it is asked.
    let artifacts = dir.path().join("data/artifacts/default/m/1/model.onnx");
    let model = std::fs::read(&artifacts).unwrap();
    std::fs::write(&artifacts, &model[..model.len() / 2]).unwrap();
    let refused = ask(&platform, "m", 0.5).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unavailable, "{refused}");
    assert!(refused.to_string().contains("try again later"), "{refused}");
    std::fs::write(&artifacts, &model).unwrap();
    let remembered = ask(&platform, "m", 0.5).await.unwrap_err();
    assert_eq!(remembered.to_string(), refused.to_string(), "it is not tried again at once");
    let begun = std::time::Instant::now();
    loop {
        match ask(&platform, "m", 0.5).await {
            Ok(reply) => break assert_eq!(bits(&reply), expected),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it never comes back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_one_is_brought_back_it_is_to_be_asked_later_and_what_is_on_demand_answers() {
    let fixture = Fixture::new().await;
    // On the endpoint that comes first.
    fixture.upload("a", MB_48, 1.0).await;
    fixture.upload("m", 64, 1.0).await;
    fixture.serve("a", Residence::Pinned).await;
    fixture.serve("m", Residence::OnDemand).await;
    let Fixture { _alone, dir, platform } = fixture;
    drop(platform);
    // A busy machine may have brought it back before anybody asks.
    for _ in 0..5 {
        if answers_while_brought_back(&dir.path().join("data")).await > 0 {
            return;
        }
    }
    panic!("what is on demand waits for others");
}

/// Brings back what is in a data directory: a pinned model, and one on demand, which answers so many looks meanwhile.
async fn answers_while_brought_back(data_dir: &Path) -> usize {
    let platform = open(data_dir).await;
    platform.announce_deployments().await.unwrap();
    assert!(!platform.readiness().ready);
    let restoring = {
        let platform = Arc::clone(&platform);
        tokio::spawn(async move { platform.restore_deployments().await.unwrap() })
    };
    let mut answered_meanwhile = 0;
    loop {
        // In this order: what is on demand is there first.
        let large = platform.model_target(&name("a"), &VersionChoice::Default);
        let on_endpoint = platform.target(P, "a", None).await;
        let small = platform.model_target(&name("m"), &VersionChoice::Default);
        let Err(refused) = large else { break };
        assert_eq!(refused.kind(), Kind::Unavailable, "{refused}");
        assert!(refused.to_string().contains("is being loaded; try again later"), "{refused}");
        if let Err(refused) = on_endpoint {
            assert_eq!(refused.kind(), Kind::Unavailable, "{refused}");
            assert!(refused.to_string().contains("is being loaded; try again later"), "{refused}");
        }
        answered_meanwhile += usize::from(small.is_ok());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let states: Vec<String> = restoring.await.unwrap().iter().map(DeploymentStatus::state).collect();
    assert_eq!(states, ["in service", "unloaded"]);
    assert!(platform.readiness().ready);
    answered_meanwhile
}

/// Looks for who answers at an endpoint again and again, until there is somebody; returns what it was told before.
async fn told_until_served(platform: Arc<Platform>, endpoint: String) -> BTreeSet<String> {
    let begun = std::time::Instant::now();
    let mut told = BTreeSet::new();
    while let Err(refused) = platform.target(P, &endpoint, None).await {
        told.insert(refused.to_string());
        assert!(begun.elapsed() < Duration::from_secs(60), "it never comes: {told:?}");
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_just_when_it_comes_into_service_is_not_told_a_reason_that_never_was() {
    let fixture = Fixture::new().await;
    fixture.upload("m", 64, 1.0).await;
    let endpoints: Vec<String> = (0..40).map(|n| format!("e{n}")).collect();
    let mut told = BTreeSet::new();
    for endpoint in &endpoints {
        fixture.endpoint(endpoint).await;
        let asking = tokio::spawn(told_until_served(Arc::clone(&fixture.platform), endpoint.clone()));
        let standing = Standing { residence: Residence::OnDemand, ..Standing::default() };
        fixture.platform.deploy(deploy(endpoint, "m", standing, true)).await.unwrap();
        told.extend(asking.await.unwrap());
    }
    let known = |why: &String, known: &[&str]| known.iter().any(|known| why.contains(known));
    for why in &told {
        assert!(known(why, &["has no model deployed", "is being changed; try again later"]), "{why}");
    }
    assert!(!told.is_empty());

    let Fixture { _alone, dir, platform } = fixture;
    drop(platform);
    let platform = open(&dir.path().join("data")).await;
    platform.announce_deployments().await.unwrap();
    let asking: Vec<_> = endpoints
        .into_iter()
        .map(|endpoint| tokio::spawn(told_until_served(Arc::clone(&platform), endpoint)))
        .collect();
    platform.restore_deployments().await.unwrap();
    for asking in asking {
        for why in asking.await.unwrap() {
            assert!(known(&why, &["is being loaded; try again later"]), "{why}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_megabytes_of_weights_do_not_fit_into_fifty() {
    let fixture = Fixture::new().await;
    fixture.upload("large", 7072, 1.0).await;
    fixture.endpoint("e").await;
    let resources = ResourceRequest { memory_gb: Some(0.05), ..ResourceRequest::default() };
    let request = Deploy { resources, ..deploy("e", "large", Standing::default(), true) };
    let refused = fixture.platform.deploy(request).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::ResourceExhausted);
    assert!(refused.to_string().contains("needs 200."), "{refused}");
    assert!(
        refused.to_string().contains("of memory and its budget is 50.0 MB; raise memory_gb"),
        "{refused}"
    );
    assert!(fixture.platform.get_endpoint(P, "e").await.unwrap().deployments.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_changes_its_size_in_its_place() {
    let fixture = Fixture::new().await;
    fixture.upload("m", 64, 1.0).await;
    let deployed = fixture.serve("m", Residence::Pinned).await;
    let before = fixture.ask("m", 0.5).await.unwrap();
    let change = |machine_type: &str| Redeploy {
        resources: ResourceRequest { machine_type: Some(machine_type.to_owned()), ..Default::default() },
        ..Redeploy::default()
    };
    let redeploy = |change: Redeploy| fixture.platform.redeploy(P, "m", &deployed.id, change);
    let larger = redeploy(change("e2-highmem-2")).await.unwrap();
    assert_eq!((larger.cpu_cores, larger.memory_gb), (2.0, 16.0));
    assert_eq!((&larger.id, larger.created_at), (&deployed.id, deployed.created_at));
    assert_eq!(fixture.status("m").threads, 2);
    let after = fixture.ask("m", 0.5).await.unwrap();
    assert_eq!((bits(&after), &after.deployment_id), (bits(&before), &deployed.id));
    let endpoint = fixture.platform.get_endpoint(P, "m").await.unwrap();
    assert_eq!(endpoint.deployments, std::slice::from_ref(&larger));
    assert_eq!(endpoint.traffic_split, BTreeMap::from([(deployed.id.clone(), 100)]));

    // What cannot be leaves the one before at work.
    let tiny = ResourceRequest { memory_gb: Some(1e-6), ..ResourceRequest::default() };
    let refused = redeploy(Redeploy { resources: tiny, ..Redeploy::default() }).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::ResourceExhausted, "{refused}");
    assert_eq!(redeploy(change("x1-standard-2")).await.unwrap_err().kind(), Kind::InvalidArgument);
    let unknown = fixture.platform.redeploy(P, "m", "999", Redeploy::default()).await.unwrap_err();
    assert!(unknown.to_string().contains(&format!("deployed: {}", deployed.id)), "{unknown}");
    let mut left = fixture.platform.get_endpoint(P, "m").await.unwrap();
    let failed = left.failed_attempt.take().unwrap();
    assert_eq!((failed.deployment, failed.failure.message), (deployed.id.clone(), refused.to_string()));
    assert_eq!(left, endpoint);
    assert_eq!(bits(&fixture.ask("m", 0.5).await.unwrap()), bits(&before));

    let on_demand = Redeploy { residence: Some(Residence::OnDemand), ..Redeploy::default() };
    assert_eq!(redeploy(on_demand).await.unwrap().cpu_cores, 2.0);
    fixture.platform.unload_model(&name("m")).unwrap();
    assert_eq!(fixture.status("m").state(), "unloaded");
    assert_eq!(bits(&fixture.ask("m", 0.5).await.unwrap()), bits(&before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_has_the_limits_it_was_given_and_keeps_them_over_a_restart() {
    let fixture = Fixture::new().await;
    fixture.upload("m", 64, 1.0).await;
    fixture.endpoint("m").await;
    let limits = DeploymentLimits { max_rows_per_request: Some(3), ..DeploymentLimits::default() };
    let resources = ResourceRequest { limits, ..ResourceRequest::default() };
    let request = Deploy { resources, ..deploy("m", "m", Standing::default(), true) };
    let deployed = fixture.platform.deploy(request).await.unwrap();
    let rows = async |platform: &Arc<Platform>, rows: usize| {
        let target = platform.target(P, "m", None).await.unwrap();
        assert_eq!(target.max_rows(), 3);
        let input = Tensor::float32(vec![rows, 2], vec![0.5; rows * 2]).unwrap();
        platform.answer(&target, Question::Tensors(vec![("x".to_owned(), input)])).await.map(|_| ())
    };
    rows(&fixture.platform, 3).await.unwrap();
    assert!(rows(&fixture.platform, 4).await.unwrap_err().to_string().contains('3'));
    // Resized, it keeps what is not changed; what cannot be changes nothing.
    let of = |limits| Redeploy {
        resources: ResourceRequest { limits, ..Default::default() },
        ..Default::default()
    };
    let wide = of(DeploymentLimits { max_batch_rows: Some(2), ..DeploymentLimits::default() });
    let resized = fixture.platform.redeploy(P, "m", &deployed.id, wide).await.unwrap();
    assert_eq!((resized.limits.max_batch_rows, resized.limits.max_rows_per_request), (Some(2), Some(3)));
    let wrong = of(DeploymentLimits { max_batch_rows: Some(0), ..DeploymentLimits::default() });
    let refused = fixture.platform.redeploy(P, "m", &deployed.id, wrong).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::InvalidArgument);
    rows(&fixture.platform, 3).await.unwrap();
    let Fixture { _alone, dir, platform } = fixture;
    drop(platform);
    let platform = open(&dir.path().join("data")).await;
    platform.restore_deployments().await.unwrap();
    rows(&platform, 3).await.unwrap();
    assert!(rows(&platform, 4).await.is_err());
    let endpoint = platform.get_endpoint(P, "m").await.unwrap();
    assert_eq!(endpoint.deployments, [resized]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_gets_copies_and_its_answers_are_kept_and_never_returned() {
    let fixture = Fixture::new().await;
    fixture.upload("m", 64, 1.0).await;
    fixture.upload("m", 64, 40.0).await;
    fixture.endpoint("e").await;
    let main = fixture.platform.deploy(deploy("e", "m@1", Standing::default(), true)).await.unwrap();
    let standing = Standing { shadow_percent: Some(50), ..Standing::default() };
    let greedy = fixture.platform.deploy(deploy("e", "m@2", standing, true)).await.unwrap_err();
    assert_eq!(greedy.violations()[0].field, "trafficSplit");
    let shadow = fixture.platform.deploy(deploy("e", "m@2", standing, false)).await.unwrap();
    for n in 0..100 {
        let target = fixture.platform.target(P, "e", None).await.unwrap().known_as(Some(format!("r{n}")));
        let reply = fixture.platform.answer(&target, question(n as f32 / 100.0)).await.unwrap();
        assert_eq!((reply.version, &reply.deployment_id), (1, &main.id));
        // Leaves it the time to keep up: what does not fit its queue is dropped.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // The newest deployed version is the shadow's, and answers nobody by the model's name either.
    let named = fixture.platform.model_target(&name("m"), &VersionChoice::Number(2)).unwrap_err();
    assert_eq!(named.kind(), Kind::NotFound);

    let report = || async { fixture.platform.shadow_reports(P, "e").await.unwrap().remove(0) };
    let mut found = report().await;
    for _ in 0..LOOKS_MAX {
        if found.totals.answered + found.totals.dropped == 50 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        found = report().await;
    }
    let totals = &found.totals;
    assert_eq!(totals.answered + totals.dropped, 50, "half of the requests: {totals:?}");
    assert!(totals.answered > 25 && totals.failed == 0, "{totals:?}");
    assert_eq!((totals.rows, totals.numbers), (totals.answered, 2 * totals.answered));
    assert_eq!(totals.classed_rows, totals.answered);
    assert!(totals.max_absolute_difference > 0.0 && totals.mean_absolute_difference().unwrap() > 0.0);
    assert_eq!(
        (found.deployment.as_str(), found.model.as_deref(), found.percent),
        (shadow.id.as_str(), Some("m@2"), Some(50))
    );

    // What is written is what both answer.
    let files: Vec<_> = std::fs::read_dir(&found.folder).unwrap().collect();
    assert_eq!(files.len(), 1);
    let text = std::fs::read_to_string(files[0].as_ref().unwrap().path()).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len() as u64, totals.answered);
    let line = &lines[0];
    assert_eq!(
        (&line["version"], &line["model"], &line["shadow_model"]),
        (&1.into(), &"m@1".into(), &"m@2".into())
    );
    assert!(line["request_id"].as_str().unwrap().starts_with('r'), "{line}");
    assert_eq!(line["inputs_sha256"].as_str().unwrap().len(), 64);
    let x = line["inputs"]["x"]["data"][0].as_f64().unwrap() as f32;
    let given = fixture.ask("e", x).await.unwrap();
    let written = |outputs: &serde_json::Value| -> Vec<f32> {
        outputs["y"]["data"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
    };
    assert_eq!(written(&line["outputs"]), given.outputs[0].1.as_float32().unwrap());

    // Promoted by an ordinary change of traffic, it answers and is no shadow.
    let split = BTreeMap::from([(shadow.id.clone(), 100)]);
    let promote = EndpointUpdate { traffic_split: Some(split), ..EndpointUpdate::default() };
    fixture.platform.update_endpoint(P, "e", promote).await.unwrap();
    let promoted = fixture.ask("e", x).await.unwrap();
    assert_eq!(promoted.version, 2);
    assert_eq!(written(&line["shadow_outputs"]), promoted.outputs[0].1.as_float32().unwrap());
    let after = report().await;
    assert_eq!((after.percent, after.totals.answered), (None, totals.answered + after_one(&after, totals)));
    let numbered = fixture.platform.model_target(&name("m"), &VersionChoice::Number(2)).unwrap();
    assert_eq!(numbered.version(), ("m", 2));

    // With the endpoint what was kept goes.
    fixture.platform.delete_endpoint(P, "e", true).await.unwrap();
    assert!(!found.folder.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_on_its_way_to_what_is_undeployed_is_answered() {
    let fixture = Fixture::new().await;
    for scale in [1.0, 40.0, 7.0] {
        fixture.upload("m", 64, scale).await;
    }
    fixture.endpoint("e").await;
    let deploy = |id: &str, residence: Residence| {
        let standing = Standing { residence, ..Standing::default() };
        let new = deploy("e", &format!("m@{id}"), standing, true);
        fixture.platform.deploy(Deploy { deployment_id: Some(id.to_owned()), ..new })
    };
    for (id, residence, next) in [("1", Residence::Pinned, "2"), ("2", Residence::OnDemand, "3")] {
        deploy(id, residence).await.unwrap();
        let expected = bits(&fixture.ask("e", 0.5).await.unwrap());
        let target = fixture.platform.target(P, "e", None).await.unwrap();
        deploy(next, Residence::Pinned).await.unwrap();
        fixture.platform.undeploy(P, "e", id, None).await.unwrap();
        let reply = fixture.platform.answer(&target, question(0.5)).await.unwrap();
        assert_eq!((reply.deployment_id.as_str(), bits(&reply)), (id, expected));
        assert_eq!(fixture.ask("e", 0.5).await.unwrap().deployment_id, next);
        fixture.platform.undeploy(P, "e", next, None).await.unwrap();
    }
}

/// One more copy may have been made by the question asked before the promotion.
fn after_one(after: &platform::ShadowReport, before: &platform::ShadowTotals) -> u64 {
    (after.totals.answered - before.answered).min(1)
}

/// How far the threads of a deployment's engine give way to others: their niceness.
#[cfg(target_os = "linux")]
fn niceness(endpoint: &str, deployment: &str) -> Vec<i64> {
    let name = format!(" {endpoint}/{deployment}");
    let thread = |entry: std::io::Result<std::fs::DirEntry>| {
        // A thread that has ended meanwhile has no files.
        let stat = std::fs::read_to_string(entry.unwrap().path().join("stat")).ok()?;
        let (before, after) = stat.rsplit_once(')')?;
        // Field 19 of `proc_pid_stat`, the third being the first after the name.
        before.ends_with(&name).then(|| after.split_whitespace().nth(16)?.parse().ok())?
    };
    std::fs::read_dir("/proc/self/task").unwrap().filter_map(thread).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn the_engine_of_a_shadow_gives_way_until_it_answers() {
    let fixture = Fixture::new().await;
    fixture.upload("m", 64, 1.0).await;
    fixture.upload("m", 64, 40.0).await;
    fixture.endpoint("e").await;
    let standing = Standing { shadow_percent: Some(100), ..Standing::default() };
    let deploy = |id: &str, model: &str, standing: Standing, traffic: bool| {
        let deployment_id = Some(id.to_owned());
        fixture.platform.deploy(Deploy { deployment_id, ..deploy("e", model, standing, traffic) })
    };
    // Threads of an engine that was replaced end after what they have taken. Of one that has a core, one computes and the
    // other, which started it, waits.
    let settled = |deployment: &'static str, expected: i64| async move {
        for _ in 0..LOOKS_MAX {
            if niceness("e", deployment) == [expected, expected] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the threads of {deployment} have {:?}, not {expected}", niceness("e", deployment));
    };
    let own = niceness_of_this_thread();
    deploy("1", "m@1", Standing::default(), true).await.unwrap();
    deploy("2", "m@2", standing, false).await.unwrap();
    settled("1", own).await;
    settled("2", 19).await;

    let split = |one: u8| {
        let split = BTreeMap::from([("1".to_owned(), one), ("2".to_owned(), 100 - one)]);
        EndpointUpdate { traffic_split: Some(split), ..EndpointUpdate::default() }
    };
    // Any share is answered like all others, and without one it is a shadow again; what it counted stays.
    let totals =
        || async { fixture.platform.shadow_reports(P, "e").await.unwrap().remove(0).totals.answered };
    let mut copies = 0;
    for share in [50, 0] {
        assert_eq!(fixture.ask("e", 0.5).await.unwrap().version, 1);
        copies += 1;
        for _ in 0..LOOKS_MAX {
            if totals().await == copies {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(totals().await, copies);
        fixture.platform.update_endpoint(P, "e", split(share)).await.unwrap();
        settled("2", own).await;
        fixture.platform.update_endpoint(P, "e", split(100)).await.unwrap();
        settled("2", 19).await;
        settled("1", own).await;
        assert_eq!(totals().await, copies);
    }

    // Changed in its place it goes on counting; brought back by a restart it gives way too.
    let resources = ResourceRequest { memory_gb: Some(2.0), ..ResourceRequest::default() };
    let change = Redeploy { resources, ..Redeploy::default() };
    fixture.platform.redeploy(P, "e", "2", change).await.unwrap();
    settled("2", 19).await;
    assert_eq!(totals().await, copies);
    let Fixture { _alone, dir, platform } = fixture;
    drop(platform);
    let platform = open(&dir.path().join("data")).await;
    platform.restore_deployments().await.unwrap();
    settled("2", 19).await;
    settled("1", own).await;
    // The last one there is answers.
    let split = BTreeMap::from([("2".to_owned(), 100)]);
    platform.undeploy(P, "e", "1", Some(split)).await.unwrap();
    settled("2", own).await;
}

#[cfg(target_os = "linux")]
fn niceness_of_this_thread() -> i64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_cannot_keep_up_drops_copies_and_delays_nobody() {
    let fixture = Fixture::new().await;
    fixture.upload_sized("m", [8, 64], 1.0).await;
    fixture.upload_sized("slow", [8, 2048], 1.0).await;
    fixture.endpoint("e").await;
    fixture.platform.deploy(deploy("e", "m", Standing::default(), true)).await.unwrap();
    let standing = Standing { shadow_percent: Some(100), ..Standing::default() };
    fixture.platform.deploy(deploy("e", "slow", standing, false)).await.unwrap();
    let asked = |n: usize| {
        let row = Tensor::float32(vec![n, 8], vec![0.5; 8 * n]).unwrap();
        let platform = Arc::clone(&fixture.platform);
        async move {
            let target = platform.target(P, "e", None).await.unwrap();
            platform.answer(&target, Question::Tensors(vec![("x".to_owned(), row)])).await.unwrap()
        }
    };
    for _ in 0..200 {
        assert_eq!(asked(500).await.model, "m");
    }
    let totals = || async { fixture.platform.shadow_reports(P, "e").await.unwrap().remove(0).totals };
    let now = totals().await;
    assert!(now.dropped > 0 && now.too_large == 0, "all of 200 were taken: {now:?}");
    assert_eq!(asked(65_000).await.model, "m");
    assert_eq!(totals().await.too_large, 1, "2 MB are not copied");
}
