"""The page of a run says what its jobs took, also of those too short or too broken to tell."""

from veloshard.provenance import jobs_table


def test_jobs_are_summed_up_by_rule(tmp_path):
    for name, content in {
        "d/m/fit_genes/1-of-2.jsonl": '{"s": 2.0, "max_rss": 200.4}\n',
        "d/m/fit_genes/2-of-2.jsonl": '{"s": 9.0, "max_rss": 1.0}\n{"s": 3.0, "max_rss": "NA"}\n',
        "d/m/merge_fits.jsonl": '{"s": 1.0, "max_rss": "NA"}\n',
        "compile_fit/m.jsonl": '{"s": 20.0, "max_rss": 300.0}\n',
        "d/m/merge_graphs.jsonl": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    table = jobs_table(tmp_path).set_index("rule")
    assert table.index.tolist() == ["compile_fit", "fit_genes", "merge_fits"]
    assert table.loc["fit_genes"].tolist() == [2, 5.0, 3.0, 200]
    assert table["peak MB"].isna().tolist() == [False, False, True]
