import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { describe } from '../model/errors.ts';
import { Icon, type IconName } from './icons.tsx';
import { number, t } from '../i18n/language.ts';

type ButtonProps = Omit<JSX.IntrinsicElements['button'], 'icon'> & {
  icon?: IconName;
  tone?: 'plain' | 'primary' | 'quiet' | 'danger';
  small?: boolean;
  children?: ComponentChildren;
};

export function Button({ icon, tone = 'plain', small, children, class: extra, ...rest }: ButtonProps) {
  return (
    <button
      type="button"
      {...rest}
      class={`button ${tone} ${small ? 'small' : ''} ${children ? '' : 'only-icon'} ${(extra as string | undefined) ?? ''}`}
    >
      {icon && <Icon name={icon} size={small ? 16 : 18} />}
      {children && <span>{children}</span>}
    </button>
  );
}

/** Characters that are laid out at once: a text of megabytes would hold the page up for a second. */
const AT_ONCE = 20_000;

/** A text of any length, the first of it at once and more on demand. */
export function Long({ text }: { text: string }) {
  const [shown, setShown] = useState(AT_ONCE);
  if (text.length <= shown) return <>{text}</>;
  const left = text.length - shown;
  return (
    <>
      {text.slice(0, shown)}…{' '}
      <button type="button" class="link" onClick={() => setShown(shown + AT_ONCE)}>
        {t('{more} more of {left} characters', {
          more: number(Math.min(left, AT_ONCE), { useGrouping: true }),
          left: number(left, { useGrouping: true }),
        })}
      </button>
    </>
  );
}

interface Choice<T> {
  value: T;
  label: string;
  /** For a screen reader, where the label is short. */
  say?: string;
  icon?: IconName;
  disabled?: boolean;
}

/** A row of radio buttons drawn as one control: one tab stop, arrow keys choose; with `onClear`, a click on the choice (or Delete) takes it back. */
export function Segments<T extends string | number>({
  legend,
  sayLegend,
  value,
  choices,
  onPick,
  onClear,
  showLegend = false,
  small = false,
}: {
  legend: string /** More of the legend, for a screen reader only. */;
  sayLegend?: string;
  value: T | null;
  choices: Choice<T>[];
  onPick(v: T): void;
  onClear?(): void;
  showLegend?: boolean;
  small?: boolean;
}) {
  const name = useId();
  return (
    <fieldset
      class={`segments ${small ? 'small' : ''}`}
      onKeyDown={(e) => {
        if (!onClear || value === null || (e.key !== 'Delete' && e.key !== 'Backspace')) return;
        e.preventDefault();
        onClear();
      }}
    >
      <legend class={showLegend ? '' : 'sr-only'}>
        {legend}
        {sayLegend && <span class="sr-only">{sayLegend}</span>}
      </legend>
      <div class="segments-row">
        {choices.map((c) => (
          <label key={c.value} class={value === c.value ? 'on' : ''} title={c.say}>
            <input
              type="radio"
              name={name}
              checked={value === c.value}
              disabled={c.disabled ?? false}
              aria-label={c.say}
              onChange={() => onPick(c.value)}
              onClick={() => value === c.value && onClear?.()}
            />
            {c.icon && <Icon name={c.icon} size={16} />}
            {c.label && <span>{c.label}</span>}
          </label>
        ))}
      </div>
    </fieldset>
  );
}

export function Switch({
  label,
  checked,
  onChange,
  help,
  disabled = false,
}: {
  label: string;
  checked: boolean;
  onChange(v: boolean): void;
  help?: string | undefined;
  disabled?: boolean;
}) {
  const id = useId();
  return (
    <label class="switch">
      <input
        type="checkbox"
        // biome-ignore lint/a11y/useAriaPropsForRole: a checkbox's own state is what aria-checked would say
        role="switch"
        checked={checked}
        disabled={disabled}
        aria-describedby={help ? id : undefined}
        onChange={(e) => onChange(e.currentTarget.checked)}
      />
      <span class="switch-track" aria-hidden="true" />
      <span class="switch-label">
        {label}
        {help && <small id={id}>{help}</small>}
      </span>
    </label>
  );
}

/** A slider with its value beside it. */
export function Slider({
  label,
  value,
  min,
  max,
  step,
  onInput,
  format = String,
}: {
  label: string;
  value: number;
  min: number;
  max: number;
  step: number;
  onInput(v: number): void;
  format?(v: number): string;
}) {
  const id = useId();
  return (
    <div class="slider">
      <label for={id}>{label}</label>
      <output for={id}>{format(value)}</output>
      <input id={id} type="range" min={min} max={max} step={step} value={value} onInput={(e) => onInput(e.currentTarget.valueAsNumber)} />
    </div>
  );
}

/** A modal dialog: the browser's own, with focus kept inside and Escape to close. */
export function Dialog({ title, onClose, children }: { title: string; onClose(): void; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = ref.current!;
    dialog.showModal();
    return () => dialog.close();
  }, []);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: a click beside the dialog closes it; for keys there is Escape, by onCancel
    <dialog
      ref={ref}
      aria-labelledby={id}
      onCancel={(e) => (e.preventDefault(), onClose())}
      onClick={(e) => e.target === ref.current && onClose()}
    >
      <div class="dialog-body">
        <header>
          <h2 id={id}>{title}</h2>
          <Button icon="close" tone="quiet" aria-label={t('Close')} onClick={onClose} />
        </header>
        {children}
      </div>
    </dialog>
  );
}

/** Opens the browser's file picker. */
export function FilePick({
  label,
  accept,
  multiple = false,
  folder = false,
  icon = 'upload',
  tone,
  onFiles,
  disabled = false,
}: {
  label: string;
  accept: string;
  multiple?: boolean /** A whole folder is chosen. */;
  folder?: boolean;
  icon?: IconName;
  tone?: ButtonProps['tone'];
  onFiles(f: File[]): void;
  disabled?: boolean;
}) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <Button icon={icon} tone={tone ?? 'plain'} disabled={disabled} onClick={() => input.current!.click()}>
        {label}
      </Button>
      <input
        ref={input}
        class="file-input"
        type="file"
        tabIndex={-1}
        aria-hidden="true"
        accept={accept}
        multiple={multiple}
        {...(folder ? { webkitdirectory: true } : {})}
        onChange={(e) => {
          const files = [...(e.currentTarget.files ?? [])];
          // The same file may be chosen twice in a row.
          e.currentTarget.value = '';
          if (files.length) onFiles(files);
        }}
      />
    </>
  );
}

export function Empty({ icon, title, children }: { icon: IconName; title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <span class="empty-icon">
        <Icon name={icon} size={28} />
      </span>
      <h2>{title}</h2>
      {children}
    </div>
  );
}

/** Asks for a name; what `onSave` throws is shown below the field. */
export function NameDialog({
  title,
  label,
  value,
  onSave,
  onClose,
}: {
  title: string;
  label: string;
  value: string;
  onSave(name: string): void | Promise<void>;
  onClose(): void;
}) {
  const [name, setName] = useState(value);
  const [wrong, setWrong] = useState('');
  const id = useId();
  return (
    <Dialog title={title} onClose={onClose}>
      <form
        class="stack"
        onSubmit={(e) => {
          e.preventDefault();
          void (async () => {
            try {
              await onSave(name.trim());
              onClose();
            } catch (error) {
              setWrong(describe(error).detail);
            }
          })();
        }}
      >
        <label for={id}>{label}</label>
        <input
          id={id}
          type="text"
          value={name}
          autofocus
          spellcheck={false}
          onInput={(e) => (setName(e.currentTarget.value), setWrong(''))}
          aria-invalid={wrong !== ''}
          aria-describedby={`${id}-wrong`}
        />
        <p id={`${id}-wrong`} class="field-error" role="alert">
          {wrong}
        </p>
        <div class="row end">
          <Button onClick={onClose}>{t('Cancel')}</Button>
          <Button type="submit" tone="primary" disabled={!name.trim()}>
            {t('Save')}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
