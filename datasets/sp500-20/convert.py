"""Converts the price files of skfolio into the Parquet files of this folder.

    pip download --no-deps skfolio==1.12.2
    pip install pyarrow==26.0.1
    python convert.py skfolio-1.12.2-py3-none-any.whl

Nothing is computed: the symbols, their order, the dates and the numbers are the ones of the source. The first
column `Date` becomes `date` (Date32), prices are float64.
"""

import gzip
import hashlib
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

FOLDER = Path(__file__).resolve().parent
WHEEL_SHA256 = "2d324c62a4188dc0b62a713f8d5cea177e208a5b45987e3d3f204dd56d3a669b"
# Named as in the package.
FILES = ["sp500_dataset", "sp500_index", "factors_dataset"]


def main(wheel: Path) -> None:
    content = wheel.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != WHEEL_SHA256:
        raise SystemExit(f"{wheel} has sha256 {digest}, expected {WHEEL_SHA256}")
    with zipfile.ZipFile(wheel) as archive:
        for name in FILES:
            text = gzip.decompress(archive.read(f"skfolio/datasets/data/{name}.csv.gz"))
            table = pyarrow.csv.read_csv(
                pa.BufferReader(text),
                convert_options=pyarrow.csv.ConvertOptions(column_types={"Date": pa.date32()}),
            )
            schema = pa.schema([("date", pa.date32())] + [(c, pa.float64()) for c in table.column_names[1:]])
            table = table.rename_columns(schema.names).cast(schema)
            assert table.num_rows == text.count(b"\n") - 1
            assert all(column.null_count == 0 for column in table.columns)
            target = FOLDER / f"{name}.parquet"
            pyarrow.parquet.write_table(
                table,
                target,
                compression="zstd",
                compression_level=19,
                use_dictionary=False,
                data_page_size=1 << 20,
                store_schema=False,
            )
            size = target.stat().st_size
            print(f"{target.name}  {table.num_rows} rows  {table.num_columns - 1} symbols  {size} bytes  "
                  f"sha256 {hashlib.sha256(target.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
