//! `data certify`: the leak certificate of a pipeline, as far as it needs no model.

use platform::{Certified, Error, Kind, Pipeline, Verdict};
use serde::Serialize;

use crate::args::data::DataCertifyArgs;
use crate::context::Context;
use crate::output::{Column, Show, note, pairs, printable, table};
use crate::verb::train::folder_of;

/// So many offenders of a check are listed; `--json` lists more.
const SHOWN: usize = 5;

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct CertifiedView<'a>(&'a Certified);

impl Show for CertifiedView<'_> {
    fn text(&self) -> String {
        let certified = self.0;
        let mut text = pairs([
            ("pipeline", certified.pipeline.clone()),
            ("data set", format!("{}@{}", certified.dataset, certified.snapshot)),
            ("certificate", format!("sha256 {}", certified.digest)),
        ]);
        let columns = [Column::Text("check"), Column::Text("verdict"), Column::Text("what was asked")];
        let checks = &certified.certificate.checks;
        text += &table(
            &columns,
            checks
                .iter()
                .map(|check| vec![check.name.clone(), check.verdict.to_string(), check.detail.clone()]),
        );
        for check in checks.iter().filter(|check| check.verdict != Verdict::Passed) {
            text += &format!("{} ({})\n", check.name, check.verdict);
            for offender in check.offenders.iter().take(SHOWN) {
                let symbol =
                    offender.symbol.as_deref().map(|symbol| format!(" {symbol}")).unwrap_or_default();
                let time = offender.time.map(|time| format!(" {}", time.date())).unwrap_or_default();
                text += &format!("  {}{symbol}{time}: {}\n", offender.what, printable(&offender.evidence));
            }
            if check.offenders.len() > SHOWN {
                text += &format!("  and {} more (--json names them)\n", check.offenders.len() - SHOWN);
            }
        }
        text
    }
}

/// `data certify`
pub(crate) async fn certify(context: &Context, args: &DataCertifyArgs) -> Result<(), Error> {
    context.refuse_server()?;
    let pipeline = Pipeline::read(&args.pipeline)?;
    note(&format!("checking  {}", pipeline.name()));
    let platform = context.open_platform().await?;
    let certified = platform.certify(&pipeline, folder_of(&args.pipeline)).await?;
    context.output.show(&CertifiedView(&certified))?;
    if certified.passed {
        return Ok(());
    }
    let failed: Vec<&str> = certified
        .certificate
        .checks
        .iter()
        .filter(|check| check.verdict == Verdict::Failed)
        .map(|check| check.name.as_str())
        .collect();
    let message = format!("pipeline \"{}\" leaks: {} failed", pipeline.name(), failed.join(", "));
    Err(Error::new(Kind::FailedPrecondition, message))
}
