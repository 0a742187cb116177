import csv
import io
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from document_trips import document, itself, pseudo, texts, written
from yunmo.apps.translate.documents.format import FormatOptions
from yunmo.apps.translate.documents.table import CSV, TSV
from yunmo.apps.translate.segments import segment
from yunmo.core.errors import InvalidRequest

TABLE = '\ufeffid;Name;"The ""text""";Price\r\n1;"Tea; green";"Two\nlines of <b>it</b>";1,50\r\n2;Cake  ;;"2"\n\r\n3; "odd" one;x"y;\r\n'


def test_cells_that_have_words_are_units(tmp_path):
    read = document(CSV, TABLE, tmp_path)
    assert texts(read) == ["id", "Name", 'The "text"', "Price", "Tea; green", "Twolines of it", "Cake  ", ' "odd" one', 'x"y']
    assert read.units[5].note == 'row 2, column 3: The "text"'
    assert [tag.text for tag in read.units[5].segment.tags] == ["\n", "<b>", "</b>"]


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (("Name",), ["Tea; green", "Cake  ", ' "odd" one']),
        (('The "text"', "Name"), ["Tea; green", "Twolines of it", "Cake  ", ' "odd" one', 'x"y']),
        (("2",), ["Name", "Tea; green", "Cake  ", ' "odd" one']),
        ((), []),
    ],
)
def test_columns_are_chosen_by_name_or_number(tmp_path, columns, found):
    assert texts(document(CSV, TABLE, tmp_path, FormatOptions(columns=columns))) == found


def test_a_column_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    for column in ("Nome", "5", "0"):
        with pytest.raises(InvalidRequest, match=r"'Name'.*'Price'"):
            document(CSV, TABLE, tmp_path, FormatOptions(columns=(column,)))


def test_a_table_keeps_its_quotes_and_line_ends(tmp_path):
    read = document(CSV, TABLE, tmp_path)
    assert written(read, itself(read), tmp_path) == TABLE.encode()
    done = written(read, {"2": segment(["Na;me"]), "3": segment(['"X"']), "9": segment(["y"])}, tmp_path).decode()
    assert done == TABLE.replace("Name", '"Na;me"').replace("The ", "").replace("text", "X").replace('x"y', "y")


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("a,b\nc,d\n", 4),
        ("a;b, c\nd;e, f, g\n", 4),
        ("a\tb\n", 2),
        ("a|b\nc|d", 4),
        ("one column, with\nwords", 3),
        ("word\nother", 2),
        ("a", 1),
    ],
)
def test_what_divides_cells_is_found_out(tmp_path, text, cells):
    assert len(document(CSV, text, tmp_path).units) == cells


def test_tabs_divide_a_tsv(tmp_path):
    assert texts(document(TSV, "a, b\tc\n", tmp_path)) == ["a, b", "c"]


def test_a_quote_without_an_end_is_refused(tmp_path):
    with pytest.raises(InvalidRequest, match="row 2, column 1"):
        document(CSV, 'a,b\n"c,d\n', tmp_path)


def test_a_table_that_is_made_to_do_harm_is_read_in_time(tmp_path):
    started = time.process_time()
    for text in ('"a"",' * 20_000, '"' * 200_001, '"a"b,' * 20_000, "," * 100_000, '""' * 200_000 + "x"):
        try:
            read = document(CSV, text, tmp_path)
        except InvalidRequest:
            continue
        assert written(read, itself(read), tmp_path) == text.encode()
    assert time.process_time() - started < 15


FULL = """
import sys
from pathlib import Path
from yunmo.apps.translate.documents.format import FormatOptions
from yunmo.apps.translate.documents.table import CSV
from yunmo.apps.translate.segments import segment
path = Path(sys.argv[1])
path.write_text('"Some <b>words</b>","more, words that stand in the cell"\\n' * 50_000)
read = CSV.read(path, FormatOptions())
read.write({unit.key: segment(["x", *unit.segment.tags]) for unit in read.units}, "de", path.with_suffix(".out"))
peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))  # this program's alone
print(len(read.units), peak)
"""


def test_a_table_of_as_many_cells_as_are_read_takes_less_than_300_mb_of_memory(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path / "full.csv"], capture_output=True, text=True, check=True, timeout=250)
    cells, peak = map(int, done.stdout.split())
    assert cells == 100_000
    assert peak < 300 * 1024


def test_a_table_of_more_cells_is_refused(tmp_path):
    with pytest.raises(InvalidRequest, match="1,000,000 cells"):
        document(CSV, ",\n" * 500_001, tmp_path)
    with pytest.raises(InvalidRequest, match="100,000 passages"):
        document(CSV, "a,b\n" * 50_001, tmp_path)


_CELLS = st.text(st.sampled_from('ab 1.é中,;"\n\t|'), max_size=10)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(_CELLS, min_size=2, max_size=4), min_size=1, max_size=6),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_any_table_keeps_its_cells_as_another_reader_sees_them(tmp_path, rows, quoting, newline):
    file = io.StringIO()
    csv.writer(file, delimiter="\t", quoting=quoting, lineterminator=newline).writerows(rows)
    text = file.getvalue()
    read = document(TSV, text, tmp_path)
    assert written(read, itself(read), tmp_path) == text.encode()
    done = written(read, pseudo(read), tmp_path).decode()
    doubled = [["".join(char * 2 if char.isalpha() else char for char in cell) for cell in row] for row in rows]
    assert list(csv.reader(io.StringIO(done, newline=""), delimiter="\t")) == doubled
