"""Scores between bags: invariances, chunks, losses, and one score for training and evaluation."""

import pytest
import torch
from score_parts import DIM, make_bags, scale_options, units, with_gradients
from torch.nn import functional as F

SMALL_MLP = "mlp(hidden=8, second=5)"
EVERYTHING = "top-k(k=2)+lse+word-max+max+noisy-or+nl+pooled"  # streamed and not, of words and of sentences


def pytest_generate_tests(metafunc):
    from mmil_cli.core.aggregators import AGGREGATORS
    from mmil_cli.core.sentences import SENTENCE_AGGREGATORS

    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", list(AGGREGATORS))
    if "sentences" in metafunc.fixturenames:
        metafunc.parametrize("sentences", list(SENTENCE_AGGREGATORS))
    if "scale" in metafunc.fixturenames:
        metafunc.parametrize("scale", scale_options(AGGREGATORS), ids=str)


def build(expression, *, dim=DIM, **options):
    """A score in double precision with weights of its own."""
    from mmil_cli.core.build_score import build_score

    with torch.random.fork_rng():
        torch.manual_seed(0)
        score = build_score(expression, dim=dim, **options).double()
        with torch.no_grad():
            for parameter in score.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return score


def pairing(num=3):
    from mmil_cli.core.losses.pairing import pair_batch

    return pair_batch(torch.arange(num), torch.arange(num))


def close(found, expected, *, atol=1e-10):
    torch.testing.assert_close(found, expected, atol=atol, rtol=1e-8)


def test_lse_plus_nl_equals_its_equations_pair_by_pair():
    regions, reports = make_bags()
    terms = build("lse(gamma=7)+nl(gamma=3)")(regions, reports)
    for i, x in enumerate(regions.features):
        for j, row in enumerate(reports.index):
            local_scores, global_scores = [], []
            for y in reports.sentences.features[row[row >= 0]]:
                h = x @ y
                local_scores.append((torch.exp(7 * h).sum() / 9).log() / 7)
                weights = torch.softmax(3 * (x @ x[h.argmax()]), 0)
                global_scores.append(F.normalize(weights @ x, dim=0) @ y)
            close(terms["lse"].scores[i, j], torch.stack(local_scores).mean())
            close(terms["nl"].scores[i, j], torch.stack(global_scores).mean())


def test_logits_are_the_weighted_sum_of_the_terms_scaled():
    regions, reports = make_bags()
    score = build("max(weight=3, temperature=0.5)+mean", temperature=0.1, learn_temperature=False)
    terms = score(regions, reports)
    close(score.logits(regions, reports), 3 * 2 * terms["max"].scores + 10 * terms["mean"].scores)
    close(terms["mean"].logits, 10 * terms["mean"].scores)


def test_order_of_sentences_images_and_padding_do_not_matter(sentences):
    score = build(EVERYTHING, sentences=sentences).eval()
    regions, reports = make_bags(((0, 1, 4), (2, 3)))
    _, shuffled = make_bags(((3, 2, -1, -1), (4, 0, 1)))
    expected = score.logits(regions, reports)
    close(score.logits(regions, shuffled), expected.flip(1))
    close(score.logits(regions[torch.tensor([2, 0])], reports[1:]), expected[[2, 0], 1:])


def test_an_empty_report_and_an_image_without_regions_score_zero(name, sentences):
    score = build(name, sentences=sentences)
    mask = torch.ones(4, 9, dtype=torch.bool)
    mask[2] = False
    regions, reports, leaves = with_gradients(*make_bags(((0, 1), (), (2,)), mask=mask))
    logits = score.logits(regions, reports)
    assert (logits[:, 1] == 0).all()
    assert (logits[2] == 0).all()
    logits.square().sum().backward()
    assert all(leaf.grad is None or leaf.grad.isfinite().all() for leaf in (*leaves, *score.parameters()))


@pytest.mark.parametrize("bag", ["no images", "no reports", "no sentences"])
def test_nothing_to_score_gives_empty_or_zero_scores(name, bag):
    regions, reports = make_bags(
        ((), ()) if bag == "no sentences" else ((0,), (1,)), num_sentences=0 if bag == "no sentences" else 5
    )
    regions = regions[:0] if bag == "no images" else regions
    reports = reports[:0] if bag == "no reports" else reports
    for critic in ("cosine", SMALL_MLP):
        found = build(name, critic=critic).logits(regions, reports)
        assert found.shape == (len(regions.features), len(reports.index))
        assert bag != "no sentences" or (found == 0).all()


def values_and_gradients(score, regions, reports):
    regions, reports, leaves = with_gradients(regions, reports)
    score.zero_grad()
    logits = score.logits(regions, reports)
    (logits * units(*logits.shape, seed=9)).sum().backward()
    nothing = torch.zeros(())
    gradients = (leaf.grad for leaf in (*leaves, *score.parameters()))
    return [logits.detach(), *(nothing if gradient is None else gradient for gradient in gradients)]


@pytest.mark.parametrize("critic", ["cosine", "bilinear", SMALL_MLP])
def test_chunks_change_neither_scores_nor_gradients(name, critic):
    mask = torch.arange(9) < torch.tensor([[9], [4], [0], [1]])
    regions, reports = make_bags(((0, 1), (2, 6), (), (1, 3, 4, 5)), num_sentences=7, mask=mask)
    score = build(name, critic=critic)
    score.chunk_elements = 10**9
    whole = values_and_gradients(score, regions, reports)
    for limit in (1, 100, 400):
        score.chunk_elements = limit
        for found, expected in zip(values_and_gradients(score, regions, reports), whole, strict=True):
            close(found, expected)


@pytest.mark.parametrize("critic", ["bilinear", SMALL_MLP])
def test_learned_scales_train_through_chunks(scale, critic):
    """The whole loss, whose readings look at the scales again before the backward pass."""
    name, option = scale
    score = build(f"{name}({option}=learned, temperature=learned)", critic=critic)
    gradients = []
    for score.chunk_elements in (10**9, 1, 100):
        score.zero_grad()
        score.loss(*make_bags(num_images=3), pairing()).total.backward()
        gradients.append(
            [parameter.grad.clone() for parameter in score.parameters() if parameter.grad is not None]
        )
    for chunked in gradients[1:]:
        for found, expected in zip(chunked, gradients[0], strict=True):
            close(found, expected)


def test_terms_that_are_streamed_and_terms_that_are_not_keep_their_order():
    regions, reports = make_bags()
    terms = build(EVERYTHING)(regions, reports)
    assert list(terms) == ["top-k", "lse", "word-max", "max", "noisy-or", "nl", "pooled"]
    for name, term in terms.items():
        alone = build(name + "(k=2)" * (name == "top-k"))
        alone.load_state_dict(
            {
                key: value
                for key, value in build(EVERYTHING).state_dict().items()
                if key.startswith(f"terms.{name}.")
            }
        )
        close(term.logits, alone.logits(regions, reports))


def test_the_loss_is_the_weighted_sum_of_the_objectives_and_names_its_parts():
    regions, reports = make_bags(num_images=3)
    expression = "lse(weight=0.5):hinge(margin=1)+max:sigmoid+mean(temperature=0.3)"
    score = build(expression, objective="dv", sentences="lse(gamma=3)")
    loss, terms, expected = score.loss(regions, reports, pairing()), score(regions, reports), 0
    for name, weight in (("lse", 0.5), ("max", 1.0), ("mean", 1.0)):
        own = score.terms[name].objective(terms[name].logits, pairing())
        expected = expected + weight * own.total
        for part, value in own.parts.items():
            close(loss.parts[f"{name}/{part}"], value)
    close(loss.total, expected)
    assert set(loss.parts) == {
        f"{name}/{part}"
        for name, parts in (
            ("lse", ("image_to_text", "text_to_image")),
            ("max", ("positives", "negatives", "bias")),
            ("mean", ("positives", "negatives")),
        )
        for part in parts
    }
    assert all(not value.requires_grad and value.numel() == 1 for value in loss.parts.values())


def test_readings_are_every_scale_and_each_terms_effective_number_of_regions():
    regions, reports = make_bags(num_images=3)
    score = build("lse+max+mean(temperature=0.3)", sentences="lse(gamma=3)")
    found = score.readings(regions, reports.sentences)
    always = {f"{name}/{what}" for name in score.terms for what in ("logit_scale", "effective_regions")}
    assert set(found) == {"lse/gamma", "sentences/gamma", *always}
    assert found["sentences/gamma"].item() == 3
    assert all(not value.requires_grad and value.numel() == 1 for value in found.values())


@pytest.mark.parametrize("critic", ["cosine", SMALL_MLP])
def test_readings_lie_within_one_and_the_number_of_regions(name, critic):
    mask = torch.arange(9) < torch.tensor([[9], [4], [0]])
    regions, reports = make_bags(num_images=3, mask=mask)
    found = build(name, critic=critic).readings(regions, reports.sentences)[f"{name}/effective_regions"]
    assert 1 - 1e-9 <= found <= 9 + 1e-9
    if name in ("mean", "pooled", "self-attention"):
        assert found.item() == pytest.approx((9 + 4) / 2)


def test_a_sample_of_a_large_batch_is_read(monkeypatch):
    """Of many sentences some, of many regions some of the images, whatever the memory at hand."""
    from mmil_cli.core import scores

    regions, reports = make_bags(tuple((place,) for place in range(40)), num_images=40, num_sentences=40)
    score = build("mean")
    whole = score.readings(regions, reports.sentences)["mean/effective_regions"]
    monkeypatch.setattr(scores, "NUMBERS_READ", 9 * 16 * 5)
    sample = score._sample(regions, reports.sentences)
    assert sample.scores.shape == (5, 9, 16)
    close(score.readings(regions, reports.sentences)["mean/effective_regions"], whole)


def test_the_chance_loss_is_that_of_a_model_that_knows_nothing():
    from mmil_cli.core.losses import OBJECTIVES

    for objective in OBJECTIVES:
        score = build("lse(weight=2)+max", objective=objective)
        before = {name: value.clone() for name, value in score.state_dict().items()}
        nothing = torch.zeros(3, 3, dtype=torch.float64)
        expected = 2 * score.terms["lse"].objective(nothing, pairing()).total
        expected = expected + score.terms["max"].objective(nothing, pairing()).total
        score.load_state_dict(before)
        close(score.chance_loss(pairing()).double(), expected.detach(), atol=1e-5)
        assert score.training
        assert all(torch.equal(value, before[name]) for name, value in score.state_dict().items())
    chance = build("lse+nl").chance_loss(pairing())
    assert chance.item() == pytest.approx(2 * torch.tensor(3.0).log().item())


def test_region_maps_are_the_scores_of_single_regions():
    regions, reports = make_bags()
    maps = build("lse+top-k").region_maps(regions, reports.sentences)
    close(maps, torch.einsum("bnd,ud->bnu", regions.features, reports.sentences.features))
    mixed = build("max+word-max").region_maps(regions, reports.sentences)
    close(mixed, (maps + build("word-max").region_maps(regions, reports.sentences)) / 2)
    assert not mixed.requires_grad


def test_training_and_evaluation_give_the_same_scores(name):
    regions, reports = make_bags()
    score = build(name)
    trained = score.train().logits(regions, reports)
    with torch.inference_mode():
        close(score.eval().logits(regions, reports), trained.detach())


def test_a_saved_score_scores_the_same():
    from mmil_cli.core.build_score import build_score

    regions, reports = make_bags(dtype=torch.float32)
    options = {"dim": DIM, "critic": SMALL_MLP, "sentences": "lse(gamma=learned)", "objective": "sigmoid"}
    expression = "lse(gamma=learned)+nl(similarity=learned)+gated-attention+noisy-and"
    score, copy = build_score(expression, **options), build_score(expression, **options)
    assert not torch.equal(copy.logits(regions, reports), score.logits(regions, reports))
    copy.load_state_dict(score.state_dict())
    assert torch.equal(copy.logits(regions, reports), score.logits(regions, reports))


def test_every_parameter_of_a_score_gets_a_gradient():
    regions, reports = make_bags(num_images=3)
    expression = (
        "lse(gamma=learned)+nl(similarity=learned):sigmoid+noisy-or+word-attention(gamma_words=learned)"
    )
    score = build(expression, critic="bilinear", sentences="lse(gamma=learned)")
    score.loss(regions, reports, pairing()).total.backward()
    for name, parameter in score.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_a_fixed_temperature_stays_and_a_learned_one_keeps_to_its_bounds():
    fixed = build("lse", temperature=0.2, learn_temperature=False)
    assert list(fixed.parameters()) == []
    assert fixed.terms["lse"].logit_scale.item() == pytest.approx(5)
    learned = build("lse")
    for log_value, bound in ((50.0, 100.0), (-50.0, 0.1)):
        with torch.no_grad():
            learned.terms["lse"].scale.log_value.fill_(log_value)
        assert learned.terms["lse"].logit_scale.item() == pytest.approx(bound)
