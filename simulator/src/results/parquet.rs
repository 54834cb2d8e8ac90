//! Every request and every sample as columns: `requests.parquet` and `timeseries.parquet`.
//!
//! Requests of a model with a single client have no client, class and tenant. Models and variants are named by their keys, `namespace/model` and `namespace/variant`, as in
//! `summary.json`. A value that does not exist is null. The bytes are a function of the recording:
//! compression, page and row-group size are fixed here, and threads change nothing.

use std::fmt;
use std::io::Write;

use optimizer::slo::Slo;
use optimizer::units::Seconds;
use polars::error::PolarsResult;
use polars::prelude::{
    BatchedWriter, Column, DataFrame, NamedFrom, ParquetCompression, ParquetWriter, Series,
    StatisticsOptions,
};

use super::labels::{model_key, variant_key};
use crate::records::{ModelRecord, Recording, RequestRecord, Sample};
use crate::workload::{Client, Origin};

/// Rows of a row group. A million requests make eight groups, which a reader may skip one by one.
const ROW_GROUP: usize = 1 << 17;

/// Bytes of a data page, before compression.
const DATA_PAGE: usize = 1 << 20;

/// Writes one row for each request, as they come, a row group at a time.
pub struct RequestsWriter<W: Write> {
    names: Names,
    /// Rows of the group that is not full yet.
    rows: Vec<RequestRecord>,
    writer: BatchedWriter<W>,
}

impl<W: Write> RequestsWriter<W> {
    /// For the requests of a run, of which `recording` has the models and variants.
    ///
    /// # Errors
    ///
    /// What polars returns; above all errors of `out`.
    pub fn new(recording: &Recording, out: W) -> PolarsResult<Self> {
        let names = Names::of(recording);
        let schema = requests(&names, &[])?.schema().clone();
        let writer = writer(out, true).batched(&schema)?;
        Ok(Self { names, rows: Vec::new(), writer })
    }

    /// Adds requests, whose rows follow those before.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn append(&mut self, requests: Vec<RequestRecord>) -> PolarsResult<()> {
        for request in requests {
            self.rows.push(request);
            if self.rows.len() == ROW_GROUP {
                self.write_group()?;
            }
        }
        Ok(())
    }

    /// Writes what is left, and the end of the file.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn finish(mut self) -> PolarsResult<()> {
        if !self.rows.is_empty() {
            self.write_group()?;
        }
        self.writer.finish()?;
        Ok(())
    }

    fn write_group(&mut self) -> PolarsResult<()> {
        self.writer.write_batch(&requests(&self.names, &self.rows)?)?;
        self.rows.clear();
        Ok(())
    }
}

impl<W: Write> fmt::Debug for RequestsWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestsWriter").field("rows", &self.rows.len()).finish_non_exhaustive()
    }
}

/// What rows call models, clients and variants, and the targets of requests.
struct Names {
    models: Vec<ModelNames>,
    variants: Vec<String>,
}

struct ModelNames {
    key: String,
    slo: Slo,
    clients: Vec<Client>,
}

impl ModelNames {
    fn client(&self, origin: Origin) -> Option<&Client> {
        self.clients.get(origin.client as usize)
    }

    fn slo(&self, origin: Origin) -> Slo {
        self.client(origin).and_then(|client| client.class.slo).unwrap_or(self.slo)
    }
}

impl Names {
    fn of(recording: &Recording) -> Self {
        let model = |model: &ModelRecord| ModelNames {
            key: model_key(model),
            slo: model.slo,
            clients: model.clients.iter().map(|record| record.client.clone()).collect(),
        };
        let models = recording.models.iter().map(model).collect();
        Self { models, variants: variant_keys(recording) }
    }
}

/// Writes one row for each variant at each sampling time.
///
/// # Errors
///
/// What polars returns; above all errors of `out`.
pub fn write_timeseries(recording: &Recording, out: impl Write) -> PolarsResult<()> {
    write(timeseries(recording)?, out, true)
}

fn write(mut frame: DataFrame, out: impl Write, parallel: bool) -> PolarsResult<()> {
    writer(out, parallel).finish(&mut frame)?;
    Ok(())
}

fn writer<W: Write>(out: W, parallel: bool) -> ParquetWriter<W> {
    ParquetWriter::new(out)
        .with_compression(ParquetCompression::Zstd(None))
        .with_statistics(StatisticsOptions::default())
        .with_row_group_size(Some(ROW_GROUP))
        .with_data_page_size(Some(DATA_PAGE))
        .set_parallel(parallel)
}

fn requests(Names { models, variants }: &Names, rows: &[RequestRecord]) -> PolarsResult<DataFrame> {
    let seconds = |span: fn(&RequestRecord) -> Option<Seconds>| {
        rows.iter().map(|row| span(row).map(Seconds::value)).collect::<Vec<_>>()
    };
    let count = |count: fn(&RequestRecord) -> u32| rows.iter().map(count).collect::<Vec<_>>();
    let queue = |row: &RequestRecord| row.scheduled.map(|at| at.since(row.arrival));
    let variant = |row: &RequestRecord| row.variant.map(|idx| variants[idx].as_str());
    let met = |row: &RequestRecord| row.meets(&models[row.model].slo(row.origin));
    let client = |row: &RequestRecord| models[row.model].client(row.origin);
    let clients = |name: fn(&Client) -> Option<&str>| {
        rows.iter().map(|row| client(row).and_then(name)).collect::<Vec<_>>()
    };
    DataFrame::new(
        rows.len(),
        vec![
            column("arrival_s", rows.iter().map(|r| r.arrival.as_seconds()).collect::<Vec<_>>()),
            column("model", rows.iter().map(|r| models[r.model].key.as_str()).collect::<Vec<_>>()),
            column("variant", rows.iter().map(variant).collect::<Vec<_>>()),
            column("replica", rows.iter().map(|r| r.replica).collect::<Vec<_>>()),
            column("prompt_tokens", count(|r| r.prompt_tokens)),
            column("cached_tokens", count(|r| r.cached_tokens)),
            column("output_tokens", count(|r| r.output_tokens)),
            column("generated_tokens", count(|r| r.generated_tokens)),
            column("ttft_s", seconds(RequestRecord::ttft)),
            column("tpot_s", seconds(RequestRecord::tpot)),
            column("e2e_s", seconds(RequestRecord::e2e)),
            column("queue_s", seconds(queue)),
            column("preemptions", count(|r| r.preemptions)),
            column("outcome", rows.iter().map(|r| r.outcome.as_str()).collect::<Vec<_>>()),
            column("slo_met", rows.iter().map(met).collect::<Vec<_>>()),
            column("client", clients(|client| Some(&client.name))),
            column("class", clients(|client| Some(&client.class.name))),
            column("tenant", clients(|client| client.tenant.as_deref())),
            column("session", rows.iter().map(|r| r.origin.session).collect::<Vec<_>>()),
        ],
    )
}

fn timeseries(recording: &Recording) -> PolarsResult<DataFrame> {
    let models = model_keys(recording);
    let variants = variant_keys(recording);
    let rows = &recording.samples;
    let count = |count: fn(&Sample) -> u32| rows.iter().map(count).collect::<Vec<_>>();
    let number = |number: fn(&Sample) -> f64| rows.iter().map(number).collect::<Vec<_>>();
    let model = |row: &Sample| models[recording.variants[row.variant].model].as_str();
    let accelerator = |row: &Sample| recording.variants[row.variant].accelerator.as_str();
    DataFrame::new(
        rows.len(),
        vec![
            column("time_s", number(|s| s.at.as_seconds())),
            column("model", rows.iter().map(model).collect::<Vec<_>>()),
            column(
                "variant",
                rows.iter().map(|s| variants[s.variant].as_str()).collect::<Vec<_>>(),
            ),
            column("accelerator", rows.iter().map(accelerator).collect::<Vec<_>>()),
            column("ready", count(|s| s.ready.get())),
            column("starting", count(|s| s.starting.get())),
            column("draining", count(|s| s.draining.get())),
            column("desired", count(|s| s.desired.get())),
            column("running", count(|s| s.running)),
            column("waiting", count(|s| s.waiting)),
            column("gateway_queue", count(|s| s.gateway_queue)),
            column("kv_usage", number(|s| s.kv_usage)),
            column("kv_usage_max", number(|s| s.kv_usage_max)),
            column("arrival_rps", number(|s| s.arrival_rate)),
        ],
    )
}

fn model_keys(recording: &Recording) -> Vec<String> {
    recording.models.iter().map(model_key).collect()
}

fn variant_keys(recording: &Recording) -> Vec<String> {
    recording.variants.iter().map(|variant| variant_key(recording, variant)).collect()
}

fn column<T, Phantom: ?Sized>(name: &str, values: T) -> Column
where
    Series: NamedFrom<T, Phantom>,
{
    Series::new(name.into(), values).into()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use polars::prelude::{ParquetReader, SerReader};

    use super::*;
    use crate::results::sample::{self, Shape};

    fn bytes(frame: DataFrame, parallel: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(frame, &mut bytes, parallel).unwrap();
        bytes
    }

    /// Requests that come so many at a time.
    fn streamed(recording: &Recording, at_a_time: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = RequestsWriter::new(recording, &mut bytes).unwrap();
        for requests in recording.requests.chunks(at_a_time) {
            writer.append(requests.to_vec()).unwrap();
        }
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn how_many_come_at_a_time_changes_nothing() {
        let recording = sample::recording(Shape::HALF_HOUR);
        assert!(streamed(&recording, 4000) == streamed(&recording, 7));
    }

    fn read(bytes: Vec<u8>) -> DataFrame {
        ParquetReader::new(Cursor::new(bytes)).finish().unwrap()
    }

    #[test]
    fn the_same_recording_gives_the_same_bytes_on_one_thread_or_many() {
        let shape = Shape { models: 2, variants: 3, ..Shape::HALF_HOUR };
        let (one, other) = (sample::recording(shape), sample::recording(shape));
        let frame = |recording| requests(&Names::of(recording), &recording.requests).unwrap();
        let first = bytes(frame(&one), true);
        assert!(first == bytes(frame(&other), true));
        assert!(first == bytes(frame(&one), false));
        let first = bytes(timeseries(&one).unwrap(), true);
        assert!(first == bytes(timeseries(&other).unwrap(), true));
        assert!(first == bytes(timeseries(&one).unwrap(), false));
    }

    #[test]
    fn what_is_read_back_is_what_was_recorded() {
        let shape = Shape { models: 2, variants: 3, ..Shape::HALF_HOUR };
        let recording = sample::recording(shape);
        let frame = read(streamed(&recording, 300));
        assert_eq!(frame.height(), recording.requests.len());
        let ttft = frame.column("ttft_s").unwrap().f64().unwrap();
        let variant = frame.column("variant").unwrap().str().unwrap();
        let met = frame.column("slo_met").unwrap().bool().unwrap();
        for (idx, request) in recording.requests.iter().enumerate() {
            assert_eq!(ttft.get(idx), request.ttft().map(Seconds::value), "{idx}");
            let key = request.variant.map(|v| variant_key(&recording, &recording.variants[v]));
            assert_eq!(variant.get(idx).map(str::to_owned), key, "{idx}");
            let slo = recording.models[request.model].slo;
            assert_eq!(met.get(idx), Some(request.meets(&slo)), "{idx}");
        }
        let frame = read(bytes(timeseries(&recording).unwrap(), true));
        let ready = frame.column("ready").unwrap().u32().unwrap();
        let kv = frame.column("kv_usage").unwrap().f64().unwrap();
        for (idx, sample) in recording.samples.iter().enumerate() {
            assert_eq!(ready.get(idx), Some(sample.ready.get()), "{idx}");
            assert_eq!(kv.get(idx), Some(sample.kv_usage), "{idx}");
        }
    }

    #[test]
    fn clients_have_their_names_and_their_targets() {
        let recording = sample::recording_of_clients();
        let frame = read(streamed(&recording, 300));
        let text = |name: &str| frame.column(name).unwrap().str().unwrap().clone();
        let (client, class, tenant) = (text("client"), text("class"), text("tenant"));
        let session = frame.column("session").unwrap().u64().unwrap();
        let met = frame.column("slo_met").unwrap().bool().unwrap();
        for (idx, request) in recording.requests.iter().enumerate() {
            let expected = [
                (Some("web"), Some("interactive"), None),
                (Some("desk"), Some("interactive"), Some("acme")),
                (Some("nightly"), Some("batch"), Some("acme")),
            ][request.origin.client as usize];
            assert_eq!((client.get(idx), class.get(idx), tenant.get(idx)), expected, "{idx}");
            assert_eq!(session.get(idx), request.origin.session, "{idx}");
            let slo = recording.models[0].slo_of(request.origin);
            assert_eq!(met.get(idx), Some(request.meets(&slo)), "{idx}");
        }
    }

    #[test]
    fn a_run_without_requests_has_files_with_columns() {
        let recording = sample::empty(Shape::HALF_HOUR);
        let columns = |frame: DataFrame| {
            let names = frame.get_column_names_owned();
            names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        let frame = read(streamed(&recording, 1));
        assert_eq!(frame.height(), 0);
        assert_eq!(
            columns(frame),
            "arrival_s model variant replica prompt_tokens cached_tokens output_tokens \
             generated_tokens ttft_s tpot_s e2e_s queue_s preemptions outcome slo_met client class \
             tenant session"
        );
        assert_eq!(
            columns(read(bytes(timeseries(&recording).unwrap(), true))),
            "time_s model variant accelerator ready starting draining desired running waiting \
             gateway_queue kv_usage kv_usage_max arrival_rps"
        );
    }
}
