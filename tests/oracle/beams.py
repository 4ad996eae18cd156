"""Beam search and processors of Transformers on the tiny llama: tests/fixtures/beams.json. Every case has the answers, their scores, and by how much
the best score of the last place beats the first that was left out, where that says whether a tie decides."""

import json

import torch

import training
from common import FIXTURES

OUT = FIXTURES / "beams.json"
CASES = [
    dict(num_beams=4, max_new_tokens=8),
    dict(num_beams=4, max_new_tokens=12, num_return_sequences=4),
    dict(num_beams=3, max_new_tokens=12, num_return_sequences=3, length_penalty=2.0),
    dict(num_beams=3, max_new_tokens=12, num_return_sequences=3, length_penalty=0.0),
    dict(num_beams=3, max_new_tokens=12, num_return_sequences=2, length_penalty=-1.0),
    dict(num_beams=3, max_new_tokens=12, num_return_sequences=3, early_stopping=True),
    dict(num_beams=5, max_new_tokens=12, num_return_sequences=5, early_stopping="never", length_penalty=0.5),
    dict(num_beams=4, max_new_tokens=12, num_return_sequences=4, early_stopping="never", length_penalty=-0.5),
    dict(num_beams=4, max_new_tokens=16, num_return_sequences=4, no_repeat_ngram_size=2),
    dict(num_beams=4, max_new_tokens=10, num_return_sequences=2, no_repeat_ngram_size=1),
    dict(num_beams=3, max_new_tokens=12, num_return_sequences=3, repetition_penalty=1.5),
    dict(num_beams=2, max_new_tokens=10, num_return_sequences=2, repetition_penalty=0.7, no_repeat_ngram_size=3),
    dict(num_beams=1, max_new_tokens=16, no_repeat_ngram_size=2),
    dict(num_beams=1, max_new_tokens=16, no_repeat_ngram_size=1, repetition_penalty=1.3),
    dict(num_beams=1, max_new_tokens=3),
]
# Few tokens of this model end an answer by themselves: several do here, so that beams end at different lengths.
ENDS = [[], [2], [7, 41, 63, 88, 12, 29]]


def main():
    model = training.base_model().eval()
    model.generation_config.pad_token_id = 0
    rows = []
    for i, case in enumerate(CASES):
        for j, ends in enumerate(ENDS):
            prompt = training.ids(f"beams/{i}/{j}", 5 + 3 * j)
            args = {**case, "eos_token_id": ends or None}
            if case["num_beams"] == 1:
                args["do_sample"] = False
            with torch.no_grad():
                out = model.generate(torch.tensor([prompt]), **args, return_dict_in_generate=True, output_scores=True)
            answers = []
            for row in out.sequences.tolist():
                answer = row[len(prompt):]
                end = next((t + 1 for t, id in enumerate(answer) if id in ends), len(answer))
                answers.append(answer[:end])
            scores = out.sequences_scores.tolist() if case["num_beams"] > 1 else []
            rows.append({"options": case, "ends": ends, "prompt": prompt, "answers": answers, "scores": scores})
    OUT.write_text("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")
    lengths = [len(a) for r in rows for a in r["answers"]]
    print(len(rows), "cases, lengths", min(lengths), "to", max(lengths), "bytes", OUT.stat().st_size)


if __name__ == "__main__":
    main()
