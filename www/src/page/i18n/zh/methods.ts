// What the table of methods (generated/form.ts) says, in Chinese, by its English: a sentence that changes there loses its translation here,
// and a test names it. Names of the field (beta, learning_rate) stay as they are.
export const methods: Record<string, string> = {
  // What a method learns from, and what it does
  'From ideal answers': '从理想回答',
  'From rankings': '从偏好排序',
  'From good and bad answers': '从好坏评判',
  'From rankings, no reference': '从偏好排序（无参考）',
  'From rankings, no reference, with imitation': '从偏好排序（无参考，兼模仿）',
  'Supervised fine-tuning: imitates the answers in the rows.': '监督微调：模仿数据中的回答。',
  'Direct preference optimization: prefers the better of two answers, measured against a reference policy.':
    '直接偏好优化：相对于参考策略，偏好两个回答中较优的一个。',
  'Kahneman–Tversky optimization: answers judged one by one, good or bad, measured against a reference policy.':
    'Kahneman–Tversky 优化：相对于参考策略，逐个学习评为好或差的回答。',
  'Odds ratio preference optimization: imitates the better of two answers and makes the other one less likely, without a reference policy.':
    '几率比偏好优化：模仿两个回答中较优的一个，并降低另一个的概率，无需参考策略。',
  'Contrastive preference optimization, and SimPO: prefers the better of two answers without a reference policy, and imitates it.':
    '对比偏好优化及 SimPO：无需参考策略，偏好并模仿两个回答中较优的一个。',
  // Groups of settings
  SFT: 'SFT',
  DPO: 'DPO',
  KTO: 'KTO',
  ORPO: 'ORPO',
  CPO: 'CPO',
  Training: '训练',
  Optimizer: '优化器',
  LoRA: 'LoRA',
  // Settings
  'all-linear, names such as q_proj, or a regular expression for whole paths.':
    'all-linear、q_proj 之类的模块名，或匹配完整路径的正则表达式。',
  'Updates over which the rate rises from 0; below 1, a share of all.': '学习率从 0 升起所经历的更新次数；小于 1 时为占总数的比例。',
  'Updates in all; −1 leaves it to the epochs.': '更新总次数；−1 表示由轮数决定。',
  'The factor is lora_alpha / √r instead.': '缩放系数改为 lora_alpha / √r。',
  "The adapter's product is multiplied by lora_alpha / r. PEFT: 8; twice the rank is usual.":
    '适配器的乘积按 lora_alpha / r 缩放。PEFT 默认 8；通常取秩的两倍。',
  'Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights.':
    '每次更新的幅度。LoRA 适合 5e-5 到 5e-4；TRL 为全参数训练取 2e-5。',
  'Share of inputs left out while learning.': '学习时随机丢弃的输入比例。',
  'Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows.':
    '一次前向处理的数据条数；越多越占内存。TRL 取 8，针对数千条的数据集。',
  'Rows in a new random order every epoch, or as they come. Not in TRL.': '每轮重新打乱数据，或保持原有顺序。TRL 中没有此项。',
  'Rank: how much the adapter can hold.': '秩：适配器能容纳多少内容。',
  'Pulls weights towards 0 (AdamW).': '权重衰减：将权重拉向 0（AdamW）。',
  'Passes that make one update.': '累积多少次前向后更新一次。',
  'Longer rows are cut to so many tokens; null: never, those longer than the context are left out.':
    '更长的数据截断到此 token 数；null 表示从不截断，超出上下文的数据则跳过。',
  'Longer gradients are shortened to this; 0: never.': '梯度范数超过此值时裁剪；0 表示从不裁剪。',
  'How the rate falls over the run.': '学习率在训练中的下降方式。',
  'How often the whole dataset is seen.': '整个数据集学习的轮数。',
  'Fixes the order of rows and the first weights.': '固定数据顺序和初始权重。',
  'How tightly answers are held to the reference.': '对参考模型的约束强度：越大越贴近参考模型。',
  'With or without the KL of mismatched pairs.': '是否计入错配对的 KL。',
  "What is made of the two answers' log-probabilities.": '如何由两个回答的对数概率计算损失。',
  "Weight of the odds ratio beside the imitation (the paper's λ).": '几率比相对于模仿项的权重（论文中的 λ）。',
  'Weight of imitating the chosen answers.': '模仿优选回答的权重。',
  'Weight of good answers.': '好回答的权重。',
  'Weight of bad answers. Weight times number should be 1 to 1.33 times as much for good answers as for bad ones.':
    '差回答的权重。好回答的“权重 × 数量”应为差回答的 1 到 1.33 倍。',
  "SimPO: by how much the chosen answer's reward must be the larger one.": 'SimPO：优选回答的奖励至少要高出多少。',
  'Short rows share a sequence of max_length tokens, each by itself: faster where lengths differ.':
    '将短数据拼入同一条 max_length 序列，各自独立：长度不一时更快。',
  'Of rows with prompt and completion: only the completion counts.': '对含 prompt 和 completion 的数据：只计算 completion。',
  "Of rows with messages: only the assistant's messages count.": '对含 messages 的数据：只计算 assistant 的消息。',
  'How sharply the two answers are told apart. SimPO: 2.': '区分两个回答的力度。SimPO 取 2。',
  'A checkpoint every so many steps; 0 = only on pause.': '每隔多少步保存一个检查点；0 表示仅在暂停时保存。',
  // Charts: titles that are words, and how the field defines them
  loss: '损失 loss',
  'KL to the base': '与基座的 KL 散度',
  kl: 'KL 散度',
  entropy: '熵 entropy',
  rewards: '奖励 rewards',
  'rewards/margins': 'rewards/margins',
  'rewards/accuracies': 'rewards/accuracies',
  nll_loss: 'nll_loss',
  log_odds_chosen: 'log_odds_chosen',
  learning_rate: 'learning_rate',
  grad_norm: 'grad_norm',
  'tokens/s': 'token/秒',
  'The rate that this update used.': '本次更新所用的学习率。',
  'Of this update.': '本次更新的数值。',
  'Length of the gradient before clipping.': '裁剪前的梯度范数。',
  ['How undecided the model is at the judged tokens: the mean entropy of its distribution over the vocabulary. ' +
    'It falls slowly; at 0 there is only one answer left.']:
    '模型在被评判的 token 上有多犹豫：其词表分布的平均熵。它会缓慢下降；为 0 时只剩一种回答。',
  ['Distance to the base model, before the update: the Kullback–Leibler divergence KL(policy ‖ base) over the vocabulary, ' +
    "mean over the update's judged positions."]:
    '更新前与基座模型的距离：词表上的 Kullback–Leibler 散度 KL(policy ‖ base)，取本次更新中被评判位置的均值。',
  'Share of pairs whose chosen answer has the higher reward.': '优选回答奖励较高的偏好对所占比例。',
  'Chosen minus rejected.': '优选减去落选。',
  "β · mean log-probability of the chosen answer's tokens.": 'β · 优选回答各 token 的平均对数概率。',
  'β · log-probability of the chosen answer (ipo, simpo: per token).': 'β · 优选回答的对数概率（ipo、simpo：按 token 平均）。',
  'β · (ln π − ln π_ref) of the chosen answer.': '优选回答的 β · (ln π − ln π_ref)。',
  'β · (ln π − ln π_ref) of good answers.': '好回答的 β · (ln π − ln π_ref)。',
  'nll_loss − β · log_odds_ratio.': 'nll_loss − β · log_odds_ratio。',
  "max(0, mean of ln π − ln π_ref of the batch's mismatched pairs).": 'max(0, 批内错配对 ln π − ln π_ref 的均值)。',
  "The preference's loss plus cpo_alpha · nll_loss.": '偏好损失加上 cpo_alpha · nll_loss。',
  'The log odds: above 0 where the chosen answer is the likelier one.': '对数几率：优选回答更可能时大于 0。',
  'Mean over the rows; half the weight where policy and reference agree.': '各条数据的均值；策略与参考一致时为权重的一半。',
  'Mean over the pairs; ln 2 where policy and reference agree.': '各偏好对的均值；策略与参考一致时为 ln 2。',
  'Mean negative log-likelihood of the counted tokens, as loss_type and smoothing make it.':
    '计入的 token 的平均负对数似然，具体由 loss_type 和平滑决定。',
  "Mean negative log-likelihood of the chosen sequences' tokens.": '优选序列各 token 的平均负对数似然。',
  "Mean negative log-likelihood of the chosen answers' tokens.": '优选回答各 token 的平均负对数似然。',
  'Good minus bad.': '好减去差。',
};
