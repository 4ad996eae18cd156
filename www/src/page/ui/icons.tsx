// Line icons, drawn for this page: 24 × 24, stroke 1.75. They decorate words and are hidden from screen readers.
const PATHS = {
  chat: 'M4 6.5A2.5 2.5 0 0 1 6.5 4h11A2.5 2.5 0 0 1 20 6.5v7a2.5 2.5 0 0 1-2.5 2.5H11l-4.5 4v-4A2.5 2.5 0 0 1 4 13.5z',
  learn: 'M4 19V5 M4 19h16 M7.5 15.5c3 0 3-7 6-7s2.5 3 6 3',
  feedback: 'M5 5h14 M5 10h9 M5 15h11 M5 20h6',
  adapters: 'M12 4l8 4-8 4-8-4z M4 12l8 4 8-4 M4 16l8 4 8-4',
  model: 'M8 8h8v8H8z M10 4v4 M14 4v4 M10 16v4 M14 16v4 M4 10h4 M4 14h4 M16 10h4 M16 14h4',
  settings: 'M4 7h9 M17 7h3 M4 17h3 M11 17h9 M15 5v4 M9 15v4',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8z M12 3v2 M12 19v2 M3 12h2 M19 12h2 M5.6 5.6 7 7 M17 17l1.4 1.4 M18.4 5.6 17 7 M7 17l-1.4 1.4',
  moon: 'M19 14.5A7.5 7.5 0 0 1 9.5 5a7.5 7.5 0 1 0 9.5 9.5z',
  auto: 'M12 4a8 8 0 1 0 0 16z M12 4a8 8 0 0 1 0 16',
  plus: 'M12 5v14 M5 12h14',
  close: 'M6 6l12 12 M18 6 6 18',
  trash: 'M5 7h14 M10 7V4.5h4V7 M7 7l.8 12.5h8.4L17 7 M10.5 10.5v5.5 M13.5 10.5v5.5',
  edit: 'M4 20l1-4L16 5l3 3L8 19z M14 7l3 3',
  send: 'M12 19V5 M6 11l6-6 6 6',
  stop: 'M7 7h10v10H7z',
  pause: 'M9 6v12 M15 6v12',
  play: 'M8 5.5v13l10-6.5z',
  download: 'M12 4v11 M7 10.5l5 5 5-5 M5 20h14',
  upload: 'M12 16V5 M7 9.5l5-5 5 5 M5 20h14',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  copy: 'M9 9h10v11H9z M5 15V4h10',
  again: 'M5 12a7 7 0 0 1 12-5l2 2 M19 4v5h-5 M19 12a7 7 0 0 1-12 5l-2-2 M5 20v-5h5',
  next: 'M9 6l6 6-6 6',
  warn: 'M12 4l9 16H3z M12 10v4.5 M12 17.2v.3',
  file: 'M7 3.5h7l4 4V20.5H7z M14 3.5v4h4',
  lock: 'M6 11h12v9H6z M8.5 11V8a3.5 3.5 0 0 1 7 0v3',
  list: 'M4 6h16 M4 12h16 M4 18h10',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 20 }: { name: IconName; size?: number }) {
  return (
    <svg
      class="icon"
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      stroke-width="1.75"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}

/** A small bird about to leave the nest. */
export function Mark({ size = 28 }: { size?: number }) {
  return (
    <svg class="mark" width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <path class="mark-nest" d="M4 21c2.5 5.5 7 8 12 8s9.500-2.500 12-8z" />
      <path class="mark-bird" d="M9 21c-1-6 2.500-12 8.500-12.500C22 8 24.500 10.500 24.500 14c0 3.200-1.300 5.300-2.700 7z" />
      <path class="mark-beak" d="M24.300 12.200l4.700 1.300-4.700 2.300z" />
      <circle class="mark-eye" cx="20.500" cy="13" r="1.300" />
      <path class="mark-wing" d="M11.500 19.500c.5-3.500 3-5.500 6.500-5.300.3 3.300-1.500 5.600-4.500 6.300z" />
    </svg>
  );
}
