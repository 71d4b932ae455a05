"""`mmil bench`: figures of the parts themselves, made again on this machine."""

from mmil_cli.cli.bench_engine import engine
from mmil_cli.cli.bench_evaluate import evaluate
from mmil_cli.cli.bench_fuzz import fuzz
from mmil_cli.cli.bench_mi import mi
from mmil_cli.cli.bench_preprocess import preprocess
from mmil_cli.cli.bench_pretrain import pretrain
from mmil_cli.cli.bench_scores import scores
from mmil_cli.cli.bench_shortlist import shortlist

BENCHES = (mi, scores, preprocess, fuzz, pretrain, engine, evaluate, shortlist)
"""The subcommands."""
