"""What Transformers' generation writes with the encoder-decoders of translators.py: tests/fixtures/translations.json. Every case has what the model's files say
(`rules`), the options, the source, and the answers with their scores."""

import json

import torch
import transformers as tf

from common import FIXTURES

OUT = FIXTURES / "translations.json"
CLASSES = {"bart": tf.BartForConditionalGeneration, "mbart": tf.MBartForConditionalGeneration, "marian": tf.MarianMTModel}
# (model, rules, options)
CASES = [
    ("bart", dict(forced_bos_token_id=0, forced_eos_token_id=2), dict(max_new_tokens=7)),
    ("bart", dict(forced_bos_token_id=0, forced_eos_token_id=2),
     dict(max_new_tokens=9, num_beams=4, num_return_sequences=3, no_repeat_ngram_size=2, length_penalty=2.0, early_stopping=True)),
    ("bart", {}, dict(max_new_tokens=12, num_beams=3, num_return_sequences=3, length_penalty=0.5, early_stopping="never")),
    ("mbart", dict(forced_bos_token_id=31, forced_eos_token_id=2), dict(max_new_tokens=8, num_beams=5, num_return_sequences=2)),
    ("mbart", dict(forced_bos_token_id=31), dict(max_new_tokens=8, repetition_penalty=1.4, no_repeat_ngram_size=3)),
    ("mbart", dict(decoder_start_token_id=9), dict(max_new_tokens=6)),
    ("marian", dict(bad_words_ids=[[47]], forced_eos_token_id=0), dict(max_new_tokens=10, num_beams=4, num_return_sequences=2)),
    ("marian", dict(bad_words_ids=[[47], [45], []], forced_eos_token_id=0), dict(max_new_tokens=10)),
]


def main():
    rows = []
    for i, (name, rules, options) in enumerate(CASES):
        model = CLASSES[name].from_pretrained(FIXTURES / "models" / name, attn_implementation="eager").eval()
        g = torch.Generator().manual_seed(100 + i)
        source = torch.randint(4, 47, (1, 5 + i), generator=g)
        if [] in rules.get("bad_words_ids", []):
            # Words that would be written without the rule.
            plain = model.generate(source, **options, do_sample=False)[0, 1:].tolist()
            rules = {**rules, "bad_words_ids": [word or plain[:2] for word in rules["bad_words_ids"]]}
        args = {"num_beams": 1, **rules, **options}
        with torch.no_grad():
            out = model.generate(source, **args, do_sample=False, return_dict_in_generate=True, output_scores=True)
        ends = model.config.eos_token_id
        answers = []
        for row in out.sequences.tolist():
            answer = row[1:]
            end = next((t + 1 for t, id in enumerate(answer) if id == ends), len(answer))
            answers.append(answer[:end])
        scores = out.sequences_scores.tolist() if args["num_beams"] > 1 else []
        rows.append({"model": name, "rules": rules, "options": options, "source": source[0].tolist(), "answers": answers, "scores": scores})
    OUT.write_text("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")
    for r in rows:
        print(r["model"], r["rules"], r["answers"], r["scores"])


if __name__ == "__main__":
    main()
