import pytest
import torch

from common.errors import UsageError
from model.segic.text import (
    INSTANCE,
    NO_TEXT,
    HashedSentences,
    StoredSentences,
    Tokenizer,
    read_sentences,
    save_sentences,
    sentence_about,
)
from tests.clip_tokens import save_small_tokenizer


def test_sentences_are_those_that_the_weights_know():
    assert sentence_about("dog") == "a photo of a dog"
    assert sentence_about("dog", "none") == NO_TEXT == ""
    assert sentence_about("dog", "instance") == INSTANCE == "please segment the instances"


@pytest.mark.parametrize("name", [None, "object", "class_7"])
def test_what_nobody_named_is_not_named(name):
    assert sentence_about(name) == NO_TEXT
    assert sentence_about(name, "instance") == INSTANCE


def test_words_without_clip_are_vectors_that_never_change():
    sentences = HashedSentences()
    both = sentences(["a photo of a cat", "a photo of a dog", "a photo of a cat"])
    assert both.shape == (3, 768)
    assert torch.equal(both[0], both[2])
    assert not torch.equal(both[0], both[1])
    assert torch.equal(HashedSentences()(["a photo of a dog"])[0], both[1])
    assert not HashedSentences()([NO_TEXT]).any()


def test_each_sentence_is_computed_once(monkeypatch):
    sentences, asked = HashedSentences(), []
    compute = sentences.compute
    monkeypatch.setattr(sentences, "compute", lambda new: asked.append(new) or compute(new))
    sentences(["cat", "dog", "cat"])
    sentences(["dog", "bird"])
    assert asked == [["cat", "dog"], ["bird"]]


def test_two_sentences_are_stored_and_no_others(tmp_path):
    path = tmp_path / "sentences.safetensors"
    save_sentences(HashedSentences(), path)
    stored = read_sentences(path)
    assert isinstance(stored, StoredSentences)
    assert torch.equal(stored([INSTANCE, NO_TEXT]), HashedSentences()([INSTANCE, NO_TEXT]))
    with pytest.raises(UsageError, match=r'no vector of "a photo of a cat".*--text none'):
        stored(["a photo of a cat"])


def test_another_file_in_its_place_is_refused(tmp_path):
    path = tmp_path / "sentences.safetensors"
    torch.save({}, path)
    with pytest.raises(UsageError, match="cannot be read as weights"):
        read_sentences(path)
    from safetensors.torch import save_file

    save_file({"none": torch.zeros(5), "instance": torch.zeros(5)}, path)
    with pytest.raises(UsageError, match="does not hold the vectors of the two sentences"):
        read_sentences(path)


def test_a_text_that_is_too_long_gets_one_line(tmp_path):
    save_small_tokenizer(tmp_path / "tokens.json")
    tokenizer = Tokenizer(tmp_path / "tokens.json")
    assert tokenizer(["ab"])[0, :5].tolist() == [49406, 0, 27, 49407, 49407]
    assert tokenizer(["a" * 75]).shape == (1, 77)
    with pytest.raises(UsageError, match=r"at most 77 tokens, and this text has 78.*shorter name"):
        tokenizer(["a" * 76])


def test_files_of_tokens_that_are_missing_or_broken_get_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"no such file: .*fetch clip_l_tokenizer"):
        Tokenizer(tmp_path / "tokens.json")
    (tmp_path / "tokens.json").write_text("{")
    with pytest.raises(UsageError, match=r"tokens\.json holds no rules for tokens"):
        Tokenizer(tmp_path / "tokens.json")
