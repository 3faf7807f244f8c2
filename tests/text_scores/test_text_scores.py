"""Scores of pictures with words, on tiny random CLIP and BLIP of transformers' own classes."""

import json

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

pytest.importorskip("transformers", reason="the extra edit is not installed")

from gs_reg.errors import InputError, MissingPart
from gs_reg.text_scores.clip import clip_scores, direction, embeddings, fits
from gs_reg.text_scores.folders import Network, ScoreFolder, as_bytes
from gs_reg.text_scores.questions import Question, noun_phrases, read_questions, template_questions
from gs_reg.text_scores.vqa import answer_ids, ask, blip_vqa, free_answers, likelihoods, tifa, with_start, yes

from . import tiny


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return ScoreFolder.of(tiny.clip(tmp_path_factory.mktemp("clip")))


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    return ScoreFolder.of(tiny.blip(tmp_path_factory.mktemp("blip")))


@pytest.fixture(scope="module")
def pictures():
    return torch.rand(2, 5, 48, 40, 3, generator=torch.Generator().manual_seed(1))


def turn(network, before, after, source, target) -> Tensor:
    got = clip_scores(network, before, after, source, target).direction
    assert got is not None
    return got


def test_clip_score_is_the_cosine_of_clips_own_embeddings(clip, pictures):
    network = Network(clip, "cpu")
    got = clip_scores(network, pictures[0], pictures[1], "a mug with handle", "a mug with green handle")
    inputs = network.processor(
        text=["a mug with green handle"], images=as_bytes(pictures[1]), return_tensors="pt", padding=True
    )
    assert inputs.pixel_values.shape[2:] == (tiny.SIDE, tiny.SIDE)
    with torch.no_grad():
        logits = network.model(**inputs).logits_per_image[:, 0]
    assert (got.after - logits / network.model.logit_scale.exp()).abs().max() < 1e-5
    assert len(got.before) == 5 and not torch.equal(got.before, got.after)


def test_direction_compares_how_both_moved_and_knows_before_from_after(clip, pictures):
    network = Network(clip, "cpu")
    there = turn(network, pictures[0], pictures[1], "a man", "a mug")
    back = turn(network, pictures[1], pictures[0], "a man", "a mug")
    turned = turn(network, pictures[0], pictures[1], "a mug", "a man")
    old, words = embeddings(network, pictures[0], ["a man", "a mug"])
    new, _ = embeddings(network, pictures[1], ["a man", "a mug"])
    assert there.abs().max() > 0.05
    assert (there - F.cosine_similarity(new - old, words[1:] - words[:1])).abs().max() < 1e-6
    assert (there + back).abs().max() < 1e-5 and (there + turned).abs().max() < 1e-5


def test_unchanged_pictures_have_direction_0_and_unchanged_words_have_none(clip, pictures):
    network = Network(clip, "cpu")
    assert turn(network, pictures[0], pictures[0], "a man", "a mug").tolist() == [0.0] * 5
    assert clip_scores(network, pictures[0], pictures[1], "a mug", "a mug").direction is None
    along = direction(torch.eye(3), torch.eye(3)[0])
    assert along is not None and along.tolist() == [1.0, 0.0, 0.0]


def test_clip_says_when_words_are_too_many(clip):
    network = Network(clip, "cpu")
    assert fits(network, "a mug") and not fits(network, "a mug " * 20)


def test_blip_vqa_is_the_product_of_yes_over_the_phrases(blip, pictures):
    network = Network(blip, "cpu")
    scores, likely = blip_vqa(network, pictures[0], ("a mug", "green handle"))
    assert likely.shape == (5, 2) and ((likely > 0) & (likely < 1)).all() and likely.std() > 1e-4
    assert (scores - likely[:, 0] * likely[:, 1]).abs().max() < 1e-6
    assert (blip_vqa(network, pictures[0], ("a mug",))[0] - likely[:, 0]).abs().max() < 1e-5
    # through the network's own forward, one token of the answer
    tokenizer = network.processor.tokenizer
    inputs = network.processor(images=as_bytes(pictures[0]), text=["a mug?"] * 5, return_tensors="pt")
    start = torch.full((5, 1), len(tokenizer) - 2)
    seen = {}
    hook = network.model.text_decoder.register_forward_hook(lambda m, a, out: seen.update(logits=out.logits))
    with torch.no_grad():
        ids = with_start(network, inputs.input_ids)
        network.model(input_ids=ids, pixel_values=inputs.pixel_values, decoder_input_ids=start)
    hook.remove()
    chances = seen["logits"][:, 0].softmax(1)
    y, n = (chances[:, tokenizer.convert_tokens_to_ids(word)] for word in ("yes", "no"))
    assert (likely[:, 0] - y / (y + n)).abs().max() < 1e-5


def test_questions_begin_with_the_token_that_blip_was_trained_with(blip):
    network = Network(blip, "cpu")
    tokenizer = network.processor.tokenizer
    ids = tokenizer(["a mug?"], return_tensors="pt").input_ids
    assert tokenizer.convert_ids_to_tokens(with_start(network, ids)[0])[0] == "[ENC]"
    assert tokenizer.convert_ids_to_tokens(ids[0])[0] == "[CLS]"


def test_likelihoods_are_products_over_tokens_and_end(blip, pictures):
    network = Network(blip, "cpu")
    asked = next(ask(network, pictures[0, :2], "is there a mug?"))
    ids = answer_ids(network, "green mug")
    total, prefix = torch.zeros(2), asked.start
    for token in ids:
        with torch.no_grad():
            total += asked.decode(prefix)[:, -1].log_softmax(1)[:, token]
        prefix = torch.cat([prefix, torch.full((2, 1), token)], 1)
    assert len(ids) == 3 and (likelihoods(asked, ["no", "green mug"])[:, 1] - total).abs().max() < 1e-4
    both = likelihoods(asked, ["yes", "no"])
    assert both.shape == (2, 2) and yes(asked).shape == (2,)


def test_tifa_takes_free_answers_and_else_the_likeliest_choice(blip, pictures):
    network = Network(blip, "cpu")
    text = "is there a mug?"
    free = [answer for asked in ask(network, pictures[0], text) for answer in free_answers(asked)]
    spoken = tifa(network, pictures[0], [Question(text, (free[0], "purple"), free[0])])
    assert bool(spoken.right[0, 0]) and not bool(spoken.mapped[0, 0])
    likely = torch.cat([likelihoods(asked, ["yes", "no"]) for asked in ask(network, pictures[0], text)]).argmax(1)
    assert not {"yes", "no"} & set(free), "the random network is meant to say neither"
    got = tifa(network, pictures[0], [Question(text, ("yes", "no"), "yes"), Question(text, ("yes", "no"), "no")])
    assert got.mapped.all() and got.right[:, 0].tolist() == (likely == 0).tolist()
    assert (got.right[:, 0] ^ got.right[:, 1]).all()


@pytest.mark.parametrize(
    ("prompt", "phrases"),
    [
        ("a photo of a man with silver eyes", ("a photo", "a man", "silver eyes")),
        ("a mug with one blue and one green eye", ("a mug", "one blue", "one green eye")),
        ("a steampunk-gear hair, front view", ("a steampunk-gear hair", "front view")),
        (" and ".join(f"word{i}" for i in range(12)), tuple(f"word{i}" for i in range(8))),
    ],
)
def test_noun_phrases(prompt, phrases):
    assert noun_phrases(prompt) == phrases


def test_templates_ask_for_the_object_the_edit_and_its_look():
    asked = template_questions("a photo of a man", "eyes", "silver eyes")
    assert [q.text for q in asked] == [
        "does the picture show a man?",
        "does the picture show silver eyes?",
        "does the eyes look silver?",
    ]
    assert {q.answer for q in asked} == {"yes"}
    assert len(template_questions("a man", "nose", "a croissant")) == 2
    assert len(template_questions("a man", "nose", "a nose")) == 2


def test_questions_come_from_a_file_in_tifas_form(tmp_path):
    path = tmp_path / "q.json"
    row = {"caption": "x", "question": "what color?", "choices": ["Red", "green"], "answer": "red."}
    path.write_text(json.dumps([row]))
    assert read_questions(path) == (Question("what color?", ("red", "green"), "red"),)
    for bad in ([], {"a": 1}, [{**row, "answer": "blue"}], [{"question": "x"}], [{**row, "choices": ["red"]}]):
        path.write_text(json.dumps(bad))
        with pytest.raises(InputError, match=r"q\.json"):
            read_questions(path)


def test_folders_are_recognised_named_and_hashed(clip, blip):
    assert (clip.kind, blip.kind) == ("clip", "blip")
    facts = clip.facts()
    assert facts["folder"] == clip.path.name and facts["vision"]["image_size"] == tiny.SIDE
    (file,) = facts["sha256"]
    assert file == "model.safetensors" and len(facts["sha256"][file]) == 64
    assert facts["sha256"] != blip.facts()["sha256"]


def test_what_is_no_such_folder_is_said(tmp_path, clip):
    with pytest.raises(InputError, match=r"no config\.json"):
        ScoreFolder.of(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "siglip"}))
    with pytest.raises(InputError, match="'siglip': expected clip"):
        ScoreFolder.of(tmp_path)
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "blip", "architectures": ["BlipForConditionalGeneration"]})
    )
    with pytest.raises(InputError, match="expected those of BlipForQuestionAnswering"):
        ScoreFolder.of(tmp_path)
    (tmp_path / "config.json").write_text((clip.path / "config.json").read_text())
    with pytest.raises(MissingPart, match="no weights"):
        ScoreFolder.of(tmp_path)


def test_weights_that_lack_are_not_made_up(tmp_path):
    """transformers would fill them with random numbers and go on."""
    from safetensors.torch import load_file, save_file

    folder = tiny.clip(tmp_path / "clip")
    tensors = load_file(folder / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"1 tensors of CLIPModel are missing, such as visual_projection\.weight"):
        Network(ScoreFolder.of(folder), "cpu")
